"""The sandbox as a program: its options, what it prints, and how it ends.

It says first what it does not imitate, then how to use it, and then nothing more until it is stopped.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from tap_d365fo.sandbox.fault_kinds import FAULTS
from tap_d365fo.sandbox.faults import Fault
from tap_d365fo.sandbox.server import Sandbox
from tap_d365fo.sandbox.switches import SWITCHES, Switches

_NOT_IMITATED = """\
What this sandbox does not imitate:
  - business logic, validation, security roles by table, and anything that writes rows over OData;
  - how fast F&O is, or when it throttles: both happen only where a switch or a fault asks for it;
  - the exact collation of a database, $batch, imports, recurring integrations, on-premises sign-in;
  - Entra beyond one tenant with one application. Tokens are signed with a key that anyone can know.
Where nobody knows how F&O behaves, a switch chooses; the default is the harsher reading (--list-switches).
"""

_HOW_TO = """\
Environment   {url}
Tenant        {tenant_id}
Application   {client_id}
Settings      {config}

In another terminal:
  export REQUESTS_CA_BUNDLE={ca_file}
  tap-d365fo --config {config} --discover > catalog.json
  tap-d365fo --config {config} --catalog catalog.json > rows.jsonl
  curl -sS --cacert {ca_file} -X POST {url}/__sandbox__/advance    # the data changes
  curl -sS --cacert {ca_file} {url}/__sandbox__/report             # requests, violations, leaks
  curl -sS --cacert {ca_file} -X POST {url}/__sandbox__/reset      # as at the start

{entities} entity sets, {rows} rows, companies {companies}. Faults: {faults}.
Press Ctrl-C to stop.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the program's options."""
    parser.add_argument("--port", type=int, default=0, help="Port on loopback; any free one without it.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of rows, chances and ids.")
    parser.add_argument("--scale", type=float, default=1.0, help="Multiplies the rows of every entity.")
    parser.add_argument(
        "--fault",
        action="append",
        default=[],
        metavar="NAME[:param=value,...]",
        help="A fault to live with, such as throttle-429:share=0.1; may be given again.",
    )
    parser.add_argument(
        "--switch",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="Sets a switch; may be given again.",
    )
    parser.add_argument("--metadata", choices=("built-in", "full"), help="full: $metadata at its real size.")
    parser.add_argument("--write-config", type=Path, metavar="PATH", help="Where to put a ready config.json.")
    parser.add_argument(
        "--state-file", type=Path, metavar="PATH", help="Where to put url, ca_file and pid as JSON."
    )
    parser.add_argument("--list-faults", action="store_true", help="Lists the faults and ends.")
    parser.add_argument("--list-switches", action="store_true", help="Lists the switches and ends.")


def run(args: argparse.Namespace) -> int:
    """Run until a signal comes; return the exit code."""
    if args.list_faults or args.list_switches:
        _say(fault_table() if args.list_faults else switch_table())
        return 0
    try:
        box = _sandbox(args)
    except (ValueError, KeyError, OSError) as error:
        sys.stderr.write(f"The sandbox cannot start: {error.args[-1] if error.args else error}\n")
        return 1
    stopped = threading.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, lambda *_: stopped.set())
    with box:
        _announce(box, args)
        stopped.wait()
    _say("Stopped.\n")
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run from a command line."""
    parser = argparse.ArgumentParser(
        prog="d365fo sandbox", description="A stand-in for Entra and F&O on loopback."
    )
    add_arguments(parser)
    return run(parser.parse_args(arguments))


def fault_table() -> str:
    """Return the faults, one a line, with their parameters."""
    lines = []
    for name, kind in FAULTS.items():
        params = ", ".join(f"{key}={value}" for key, value in kind.params.items())
        lines.append(f"{name:26} {kind.says}" + (f" ({params})" if params else ""))
    lines.append("\nEvery fault also takes path, nth, share, count, after_s and for_s.")
    return "\n".join(lines) + "\n"


def switch_table() -> str:
    """Return the switches, one a line, with their values and defaults."""
    lines = []
    for name, switch in SWITCHES.items():
        values = "|".join(switch.values) if isinstance(switch.values, tuple) else switch.values.__name__
        default = switch.default if isinstance(switch.default, str) else f"{switch.default:g}"
        lines.append(f"{name:28} {switch.says} [{values}; default {default or 'empty'}]")
    return "\n".join(lines) + "\n"


def _sandbox(args: argparse.Namespace) -> Sandbox:
    switches = Switches(dict(each.partition("=")[::2] for each in args.switch))
    if args.metadata:
        switches["metadata.scale"] = args.metadata
    faults = [Fault.parse(each) for each in args.fault]
    return Sandbox(faults=faults, switches=switches, seed=args.seed, port=args.port, scale=args.scale)


def _announce(box: Sandbox, args: argparse.Namespace) -> None:
    ca_file, config = box.ca_file, Path(box.ca_file).with_name("config.json")
    if args.write_config:
        config = args.write_config.absolute()
        # Beside the settings, so that both outlive this process's own folder.
        config.parent.mkdir(parents=True, exist_ok=True)
        ca_file = str(shutil.copy(box.ca_file, config.with_name("sandbox-ca.pem")))
    _write(config, box.config())
    if args.state_file:
        state = {"url": box.url, "ca_file": ca_file, "config": str(config), "pid": os.getpid()}
        _write(args.state_file, state)
    sets, hidden = box.dataset.names, box.switches.listed("companies.hidden")
    _say(_NOT_IMITATED + "\n")
    _say(
        _HOW_TO.format(
            url=box.url,
            tenant_id=box.tenant_id,
            client_id=box.client_id,
            config=config,
            ca_file=ca_file,
            entities=len(sets) + len(box.front.landscape.other_sets()),
            rows=sum(len(box.dataset.table(name)) for name in sets),
            companies=", ".join(each for each in box.dataset.companies if each not in hidden),
            faults=", ".join(each.name for each in box.faults) or "none",
        )
    )


def _write(path: Path, value: Any) -> None:
    """Write JSON for the owner's eyes, all at once: whoever waits for the file finds it whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(path.name + ".part")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)


def _say(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
