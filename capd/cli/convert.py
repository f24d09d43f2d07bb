"""`capd convert`: a tcpdump or dumpcap command line as capd.toml."""

from __future__ import annotations

import argparse

from capd.cli.common import Words, say, warn


def add(words: Words[argparse.ArgumentParser]) -> None:
    """Add it to the command line."""
    text = "a tcpdump or dumpcap line as capd.toml; what else the line does, on standard error"
    convert = words.add_parser("convert", help=text, usage="capd convert [--json] -- LINE")
    convert.add_argument("--json", action="store_true", help="both on standard output")
    line = "its words, or all of it in quotes"
    convert.add_argument("line", nargs=argparse.REMAINDER, metavar="LINE", help=line)
    convert.set_defaults(command=_convert)


def _convert(options: argparse.Namespace) -> int:
    from capd.convert.conversion import convert

    line = options.line[1:] if options.line[:1] == ["--"] else options.line
    conversion = convert(line)
    if options.json:
        say(conversion.as_json())
        return 0
    say(conversion.toml, styled=True)  # as it is quoted, or it would not load
    warn("\n".join(conversion.lines()))
    return 0
