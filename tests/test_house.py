"""The rules of the house, read off the sources: what a review would otherwise have to repeat."""

from __future__ import annotations

import ast
import graphlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

TOP_LEVEL = {
    *("capd", "etc", "packaging", "systemd", "tests", ".ci"),
    *("pyproject.toml", "README.md", "DESIGN.md", "LICENSE", ".gitignore"),
}
# Read the whole package; every other module keeps to its own folder and the top level.
FRONT_ENDS = {"cli", "entry", "__main__"}
# A worker must start in no time, stay small, and know its plan only.
NOT_FOR_THE_WORKER = {
    *("capd.config", "capd.daemon", "isal", "prometheus_client", "psutil", "pydantic"),
    *("pyroute2", "rich", "systemd", "zstandard"),
}
# Paths. The top of a process may catch everything, to say it in one line; `__main__` always may.
MAY_CATCH_ALL: set[str] = set()

MODULE_LINES = 320
C_FILE_LINES = 420
FUNCTION_LINES = 50


@cache
def files() -> list[Path]:
    """What is in the repository or about to be, relative to its root."""
    trust = f"safe.directory={ROOT}"  # whoever owns the checkout
    listing = subprocess.run(
        ["git", "-c", trust, "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        check=True,
    )
    names = {os.fsdecode(name) for name in listing.stdout.split(b"\0") if name}
    return [Path(name) for name in sorted(names) if (ROOT / name).is_file()]


@cache
def sources() -> dict[Path, ast.Module]:
    """Every Python file, parsed."""
    return {
        path: ast.parse((ROOT / path).read_bytes(), str(path))
        for path in files()
        if path.suffix == ".py"
    }


@cache
def modules() -> dict[str, ast.Module]:
    """The modules of capd by name; a package goes by its own name."""
    return {
        ".".join(path.with_suffix("").parts).removesuffix(".__init__"): tree
        for path, tree in sources().items()
        if path.parts[0] == "capd"
    }


def imports(tree: ast.Module) -> Iterator[str]:
    """All that a module imports anywhere in it; `from a import b` gives both `a` and `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def graph() -> dict[str, set[str]]:
    """Which modules of capd each of them imports, its own packages left out."""
    return {
        name: {
            other
            for other in imports(tree)
            if other in modules() and not f"{name}.".startswith(f"{other}.")
        }
        for name, tree in modules().items()
    }


def part(module: str) -> str:
    """The part of capd that a module belongs to: `capture` for `capd.capture.worker`."""
    return f"{module}.".split(".")[1]


def is_folder(name: str) -> bool:
    """Whether a part of capd is a folder of modules."""
    return f"capd/{name}/__init__.py" in map(str, sources())


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Every call, with its place."""
    for path, tree in sources().items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield f"{path}:{node.lineno}", node


def names(tree: ast.AST) -> set[str]:
    """The names that an expression uses, dotted ones by their last part."""
    return {
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Name | ast.Attribute)
    }


def swallows_all(node: ast.ExceptHandler | ast.Call) -> bool:
    """Whether this catches every error and does not pass it on."""
    every = {"Exception", "BaseException"}
    if isinstance(node, ast.Call):
        return "suppress" in names(node.func) and bool(names(node) & every)
    broad = node.type is None or bool(names(node.type) & every)
    return broad and not isinstance(node.body[-1], ast.Raise)


def expect_none(found: Iterable[object], advice: str) -> None:
    """Fail with the advice and the list if there is anything in the list."""
    lines = [f"  {item}" for item in found]
    if lines:
        pytest.fail("\n".join([advice, *lines]), pytrace=False)


def line_count(path: Path) -> int:
    """How long a file is."""
    return len((ROOT / path).read_bytes().splitlines())


def test_top_level_stays_small() -> None:
    """A new file has a place in one of the folders."""
    found = {path.parts[0] for path in files()} - TOP_LEVEL
    expect_none(sorted(found), "Move these into one of the folders, or ignore what is made:")


def test_imports_are_absolute() -> None:
    """One spelling; and `imports` above reads no other."""
    found = [
        f"{path}:{node.lineno}"
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
    ]
    expect_none(found, "Write these imports in full, `from capd.x import y`:")


def test_imports_have_no_cycle() -> None:
    """A cycle means that two modules are one, or that a third one is missing."""
    cycle: list[str] = []
    try:
        graphlib.TopologicalSorter(graph()).prepare()
    except graphlib.CycleError as error:
        cycle = error.args[1]
    expect_none(cycle, "Move what these modules share into one below them:")


def test_folders_keep_to_themselves() -> None:
    """One folder, one process: they meet at file names and messages, not at imports."""
    found = [
        f"{name} imports {other}"
        for name, others in graph().items()
        for other in sorted(others)
        if part(name) not in FRONT_ENDS
        and part(other) != part(name)
        and (is_folder(part(other)) or part(other) in FRONT_ENDS)
    ]
    expect_none(found, "Move what is shared into a module at the top level of capd:")


def test_worker_reaches_no_big_import() -> None:
    """Whatever the worker imports, and whatever that imports, is small."""
    reached: set[str] = set()
    todo = {"capd"} | {name for name in modules() if part(name) == "capture"}
    while todo:
        reached |= todo
        todo = {other for name in todo for other in graph()[name]} - reached
    found = [
        f"{name} imports {other}"
        for name in sorted(reached)
        for other in imports(modules()[name])
        if any(f"{other}.".startswith(f"{big}.") for big in NOT_FOR_THE_WORKER)
    ]
    expect_none(found, "The worker gets what it needs in its plan; take these out:")


def test_worker_loads_no_big_module() -> None:
    """The same, as the interpreter sees it."""
    names = [
        name for name in modules() if part(name) == "capture" and not name.endswith(".__main__")
    ]
    program = f"import sys, {', '.join(names)}; print(*sys.modules)"
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
    )
    found = NOT_FOR_THE_WORKER & set(run.stdout.split())
    expect_none(sorted(found), "Importing capd.capture loads these (see python -X importtime):")


def test_nothing_slow_comes_before_a_kept_ring() -> None:
    """What the daemon imports before the workers of rings that wait are on their way."""
    loaded = "import sys, capd.entry, capd.daemon.headstart; print(*sys.modules)"
    done = subprocess.run(
        [
            sys.executable,
            "-I",
            "-S",
            "-c",
            f"import sys; sys.path.insert(0, {str(ROOT)!r}); {loaded}",
        ],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    slow = {"argparse", "asyncio", "enum", "json", "re", "socket", "typing"}
    expect_none(slow & set(done.stdout.split()), "Import these later:")


def test_modules_are_short() -> None:
    """A module that grows past this does two things."""
    limits = {".py": MODULE_LINES, ".c": C_FILE_LINES, ".h": C_FILE_LINES}
    found = [
        f"{path}: {line_count(path)} lines, the limit is {limits[path.suffix]}"
        for path in files()
        if path.suffix in limits and line_count(path) > limits[path.suffix]
    ]
    expect_none(found, "Split these by what they do:")


def test_functions_are_short() -> None:
    """A function that does not fit on a screen has a part that deserves a name."""
    found = [
        f"{path}:{node.lineno}: {node.name} has {lines} lines, the limit is {FUNCTION_LINES}"
        for path, tree in sources().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and (lines := (node.end_lineno or 0) - node.lineno + 1) > FUNCTION_LINES
    ]
    expect_none(found, "Give a part of these functions a name of its own:")


def test_modules_say_what_they_are() -> None:
    """The first line of a module is what it is for."""
    found = [path for path, tree in sources().items() if not ast.get_docstring(tree)]
    expect_none(found, "Begin these files with a docstring that says what they are for:")


def test_no_error_is_swallowed() -> None:
    """Only the top of a process may end what it catches: elsewhere that hides bugs."""
    found = [
        f"{path}:{node.lineno}"
        for path, tree in sources().items()
        if path.stem != "__main__" and str(path) not in MAY_CATCH_ALL
        for node in ast.walk(tree)
        if isinstance(node, ast.ExceptHandler | ast.Call) and swallows_all(node)
    ]
    expect_none(found, "Catch the errors that can happen here, by name, or raise at the end:")


@pytest.mark.fault(47)
def test_no_shell() -> None:
    """Filter texts and interface names come from people; a shell would read them as programs."""
    shells = {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
    shells |= {"asyncio.create_subprocess_shell"}
    found = [
        place
        for place, call in calls()
        if ast.unparse(call.func) in shells
        or any(word.arg == "shell" and ast.unparse(word.value) != "False" for word in call.keywords)
    ]
    expect_none(found, "Start the program by a list of arguments, without a shell:")
