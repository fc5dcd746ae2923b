"""`d365fo check`: is everything set up, and if not, what is the one next step."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from tap_d365fo.cli import settings

if TYPE_CHECKING:
    import argparse

    from tap_d365fo.extraction.findings import Finding

_SIGNS = {"ok": "ok  ", "warning": "warn", "failed": "FAIL", "not-checked": "-   "}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb and its options."""
    parser = subparsers.add_parser("check", help="Check the set-up, step by step, and say what to do next.")
    settings.add_argument(parser)
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="findings as JSON, for machines")
    form.add_argument("--markdown", action="store_true", help="findings as a table, to paste into a ticket")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Check, show, and return 0 only when all is well."""
    from tap_d365fo.extraction.diagnosis import Diagnosis  # noqa: PLC0415  only who checks pays for it

    found = []
    for finding in Diagnosis(settings.read(args.config)).findings():
        found.append(finding)
        if not (args.json or args.markdown):
            print("\n".join(_lines(finding)), flush=True)
    if args.json:
        print(json.dumps([each.to_json() for each in found], indent=2))
    if args.markdown:
        print("\n".join(_markdown(found)))
    return int(any(each.verdict == "failed" for each in found))


def _lines(finding: Finding) -> list[str]:
    line = f"[{_SIGNS[finding.verdict]}] {finding.check}: {finding.message}"
    return [line, f"       Next: {finding.remedy}"] if finding.remedy else [line]


def _markdown(found: list[Finding]) -> list[str]:
    def cell(text: str) -> str:
        return text.replace("|", "\\|")

    rows = [
        f"| {each.check} | {each.verdict} | {cell(each.message)} | {cell(each.remedy)} |" for each in found
    ]
    return ["| check | verdict | found | next step |", "|---|---|---|---|", *rows]
