"""`d365fo check`: is everything set up, and if not, what is the one next step."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from tap_d365fo.cli import settings

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from tap_d365fo.extraction.findings import Finding

_SAYS = (
    "Walk the way of a sync step by step, and say at the first trouble what to do next, where, and who can."
)
_MORE = """\
Exit code 0 means that nothing failed. Nothing is written to the environment, one row of each selected entity is
read, and neither secrets nor values of rows are shown: the output can be sent to whoever is to help.
"""
_COLOURS = {"ok": 32, "warning": 33, "failed": 31, "not-checked": 2}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb and its options."""
    parser = subparsers.add_parser("check", help="check the set-up", description=_SAYS, epilog=_MORE)
    settings.add_argument(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="findings as JSON, for machines")
    form.add_argument("--markdown", action="store_true", help="findings as a table, to paste into a ticket")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check, show, and return 0 only when nothing failed."""
    from tap_d365fo.extraction.diagnosis import diagnose  # noqa: PLC0415  only who checks pays for it

    found = []
    for finding in diagnose(lambda: settings.read(args.config)):
        found.append(finding)
        if not (args.json or args.markdown):
            print(_shown(finding), flush=True)
    if args.json:
        print(json.dumps([each.to_json() for each in found], indent=2))
    if args.markdown:
        print("\n".join(_markdown(found)))
    return int(any(each.verdict == "failed" for each in found))


def _shown(finding: Finding) -> str:
    if not (sys.stdout.isatty() and "NO_COLOR" not in os.environ):
        return str(finding)
    coloured = f"\x1b[{_COLOURS[finding.verdict]}m{finding.sign}\x1b[0m"
    return str(finding).replace(finding.sign, coloured, 1)


def _markdown(found: Iterable[Finding]) -> list[str]:
    def cell(text: str) -> str:
        return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")

    rows = [
        f"| {each.check} | {each.verdict} | {cell(each.message)} | {cell(each.remedy)} |" for each in found
    ]
    return ["| check | verdict | found | next step |", "|---|---|---|---|", *rows]
