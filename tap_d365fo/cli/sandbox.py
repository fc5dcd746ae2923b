"""`d365fo sandbox`: starts the stand-in for Entra and F&O."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

_SAYS = "A stand-in for Entra and F&O on this machine, to try pipelines and their faults."


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verb and its options."""
    from tap_d365fo.sandbox.program import add_arguments  # noqa: PLC0415 - only who asks for it pays for it

    parser = subparsers.add_parser("sandbox", help=_SAYS, description=_SAYS)
    add_arguments(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Run the sandbox until a signal comes; return the exit code."""
    from tap_d365fo.sandbox import program  # noqa: PLC0415 - only who asks for it pays for it

    return program.run(args)
