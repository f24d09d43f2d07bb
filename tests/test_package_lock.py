"""packaging/requirements*.txt: what the package carries, against what capd asks for."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from capd import __version__
from tests.support.roots import CHECKOUT

PACKAGING = CHECKOUT / "packaging"
LOCKS = {"requirements.txt", "requirements-build.txt"}
SHA256 = r"--hash=sha256:[0-9a-f]{64}"


def pinned(lock: str) -> dict[str, str]:
    """The version of each package in it."""
    text = (PACKAGING / lock).read_text()
    return dict(re.findall(r"^([a-z0-9-]+)==(\S+) \\$", text, re.MULTILINE))


def project() -> dict[str, Any]:
    return tomllib.loads((CHECKOUT / "pyproject.toml").read_text())


def unmet(needs: list[str], lock: str) -> list[Requirement]:
    """Those of the needs that the lock has in no version, or in another one."""
    versions = pinned(lock)
    return [
        need
        for need in map(Requirement, needs)
        if not (version := versions.get(canonicalize_name(need.name)))
        or version not in need.specifier
    ]


def test_the_lock_is_what_capd_asks_for() -> None:
    found = project()
    assert unmet(found["project"]["dependencies"], "requirements.txt") == []
    assert unmet(found["build-system"]["requires"], "requirements-build.txt") == []


@pytest.mark.parametrize("need", ["rich<1", "absent"])
def test_what_it_has_not_is_noticed(need: str) -> None:
    assert [str(each) for each in unmet([need, "rich"], "requirements.txt")] == [need]


@pytest.mark.parametrize("lock", sorted(LOCKS))
def test_every_line_of_it_is_pinned(lock: str) -> None:
    """A version with hashes, or a comment; and the first lines say how it was made."""
    text = (PACKAGING / lock).read_text()
    entry = rf"[a-z0-9-]+==\S+( \\\n    {SHA256})+(\n    # .*)*\n"
    assert re.sub(rf"^(#.*\n|\n|{entry})", "", text, flags=re.MULTILINE) == ""
    command = re.search(r"^#    pip-compile (.+)$", text, re.MULTILINE)
    assert command is not None
    assert {"--generate-hashes", f"--output-file=packaging/{lock}"} < set(command[1].split())


def test_there_is_no_other_lock() -> None:
    """packaging/install takes these two by name, and looks at all for what has changed."""
    assert {path.name for path in PACKAGING.glob("requirements*.txt")} == LOCKS


def test_every_licence_is_told() -> None:
    """Each package that is carried has a paragraph in debian/copyright."""
    text = (PACKAGING / "debian" / "copyright").read_text()
    files = " ".join(re.findall(r"^Files: (.+)", text, re.MULTILINE)).split()
    stems = tuple(each.removesuffix("*") for each in files if each != "*")
    names = [name.replace("-", "_") for name in pinned("requirements.txt")]
    assert [name for name in names if not name.startswith(stems)] == []
    assert [stem for stem in stems if not any(name.startswith(stem) for name in names)] == []


def test_the_changelog_is_of_this_version() -> None:
    """build-deb refuses to build otherwise."""
    first = (PACKAGING / "debian" / "changelog").read_text().splitlines()[0]
    assert first.startswith(f"capd ({__version__}) ")
