"""The C modules under test: the installed ones, or those in the folder that PLACE names."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

PLACE = "CAPD_TEST_COMPILED"


def compiled(name: str) -> ModuleType:
    """The module of this full name; programs started from here on get no sanitizer."""
    folder = os.environ.get(PLACE)
    if folder is None:
        return importlib.import_module(name)
    os.environ.pop("LD_PRELOAD", None)
    path = next(Path(folder).glob(f"{name.rpartition('.')[2]}*.so"), None)
    if path is None:  # another one is under test
        return importlib.import_module(name)
    loaded = sys.modules.get(name)  # the installed one, if something of capd needed it
    if loaded is not None and loaded.__file__ == str(path):
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
