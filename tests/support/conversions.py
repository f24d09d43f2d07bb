"""Lines converted, for tests: the config that `load` makes of the result, and what was noted."""

from __future__ import annotations

import os
import tempfile
from typing import NamedTuple

from capd.config import Config, load
from capd.convert.conversion import Conversion, convert


class Converted(NamedTuple):
    """What came of a line, loaded."""

    conversion: Conversion
    config: Config

    def keys(self, name: str | None = None) -> dict[str, object]:
        """What is set for all interfaces, or for this one: no default is."""
        if name is None:
            return self.config.capture.model_dump(exclude_unset=True)
        found = next(each for each in self.config.interface if each.name == name)
        return found.model_dump(exclude_unset=True, exclude={"name"})

    @property
    def names(self) -> list[str]:
        """The interfaces."""
        return [each.name for each in self.config.interface]

    def said(self, kind: str, about: str) -> str:
        """All that was noted of this kind about this part of the line."""
        notes = self.conversion.notes
        return "\n".join(n.text for n in notes if n.kind == kind and n.about == about)


def loaded(toml: str) -> Config:
    """The config in this text; ConfigError if it is none."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "capd.toml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(toml)
        return load(path)


def converted(*words: str) -> Converted:
    """This line; UsageError if it is refused, ConfigError if the result does not load."""
    conversion = convert(words)
    return Converted(conversion, loaded(conversion.toml))
