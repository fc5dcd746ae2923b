"""The people's door: the `d365fo` command."""

from __future__ import annotations

import argparse
import os
import sys

from tap_d365fo import __version__
from tap_d365fo.cli import check, entities, sandbox
from tap_d365fo.errors import D365FOError

COMMANDS = (check, entities, sandbox)
"""Modules with `add_parser(subparsers)` and `run(args) -> exit code`."""


def main(arguments: list[str] | None = None) -> None:
    """Run one command; what a person can act on is one line, never a traceback."""
    options = _parser().parse_args(arguments)
    try:
        code = options.run(options)
        sys.stdout.flush()
    except D365FOError as exc:
        print(f"d365fo: {exc}", file=sys.stderr)
        code = 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except KeyboardInterrupt:
        code = 130
    raise SystemExit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="d365fo",
        description="Dynamics 365 Finance & Operations for people: set-up, entities, a sandbox.",
    )
    parser.add_argument("--version", action="version", version=f"d365fo {__version__}")
    subparsers = parser.add_subparsers(title="commands", dest="command", required=True)
    for command in COMMANDS:
        command.add_parser(subparsers)
    return parser
