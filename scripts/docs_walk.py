"""A newcomer's first half hour, played against the sandbox and written down as it went."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from environments import ROOT

from tap_d365fo.sandbox.server import Sandbox

PAGE = ROOT / "docs" / "newcomer.md"
_WIDTH = 110
BIN = Path(sys.executable).parent

_INTRODUCTION = """\
# A newcomer's way to the first rows

Recorded by `make docs`: every command below was run, against a sandbox that was set into each of these states, and what
it answered is shown as it came. Only the address, the ids and the times are written in one way.
"""

_STEPS: tuple[tuple[str, str, dict[str, Any], dict[str, Any], str], ...] = (
    (
        "The secret's ID in place of its value",
        "The four credentials are in `config.json`, and one of them is the wrong one of two columns in the portal.",
        {"client_secret": "3f2504e0-4f89-41d3-9a0c-0305e82c3301"},
        {},
        "d365fo check --config config.json",
    ),
    (
        "The application is not known to F&O",
        "Entra is content now. F&O itself answers with an empty 401; the third step of the set-up is missing.",
        {},
        {"setup": "unregistered"},
        "d365fo check --config config.json",
    ),
    (
        "A company that is not there",
        "The row is entered in F&O. The settings name a company that the service user does not see.",
        {"companies": ["usmf", "usrt"]},
        {"setup": "ok"},
        "d365fo check --config config.json",
    ),
    (
        "All is well",
        "",
        {"companies": []},
        {},
        "d365fo check --config config.json",
    ),
    (
        "Finding entities",
        "Each entity has four names; any of them will do.",
        {},
        {},
        "d365fo entities --config config.json customer",
    ),
    (
        "The first rows",
        "",
        {"entities": ["CustomerGroups"]},
        {},
        """tap-d365fo --config config.json --discover > catalog.json
tap-d365fo --config config.json --catalog catalog.json > rows.jsonl
grep RECORD rows.jsonl | head -n 2""",
    ),
)
"""Title, what has happened, changes of the settings, changes of the environment, and the commands."""


def write() -> None:
    """Play the walk and write the page."""
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Play the walk and return the page."""
    return "\n".join([_INTRODUCTION, *_walk()])


def _walk() -> Iterator[str]:
    with (
        Sandbox(seed=7, switches={"companies.hidden": ""}) as sandbox,
        tempfile.TemporaryDirectory() as folder,
    ):
        config = {**sandbox.config(entities=["CustomersV3"])}
        secret = config["client_secret"]
        for title, told, settings, switches, commands in _STEPS:
            config |= {"client_secret": secret, **settings}
            sandbox.switches.update(switches)
            (Path(folder) / "config.json").write_text(json.dumps(config))
            yield f"## {title}\n"
            if told:
                yield f"{told}\n"
            yield "```console"
            for command in commands.splitlines():
                yield f"$ {command}"
                yield _said(_run(command, folder, sandbox), sandbox, config)
            yield "```\n"


def _run(command: str, folder: str, sandbox: Sandbox) -> str:
    variables = {
        "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
        "HOME": folder,
        "REQUESTS_CA_BUNDLE": str(sandbox.ca_file),
        "COLUMNS": "110",
        "PYTHONWARNINGS": "ignore",  # old Pythons have the SDK warn of their end
    }
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.stdout


def _said(output: str, sandbox: Sandbox, config: dict[str, Any]) -> str:
    """Return output with what differs from run to run written in one way."""
    address = sandbox.config()["environment_url"].rstrip("/")
    host = address.partition("//")[2]
    hidden = (
        (re.escape(str(sandbox.ca_file)), "sandbox-ca.pem"),
        (r'"pid":\d+', '"pid":1'),
        (r'("sync_duration","value":|"version":)[\d.]+', r"\g<1>1"),
        (r"\d+ rows/s", "200 rows/s"),
        (r"of \d+ requests", "of 12 requests"),
        (re.escape(address), "https://contoso.operations.dynamics.com"),
        (re.escape(host), "contoso.operations.dynamics.com"),
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "00000000-0000-0000-0000-000000000000",
        ),
        (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[.,]?\d*(\+00:00|Z)?", "2026-01-01T00:00:00Z"),
        (r"\b\d+(\.\d+)? (ms|s)\b", "0.1 s"),
    )
    for found, written in hidden:
        output = re.sub(found, written, output)
    if config["client_secret"] in output:
        raise SystemExit("The output shows the client secret.")
    lines = (_folded(line) for line in output.splitlines())
    return "\n".join(line for folded in lines for line in folded)


def _folded(line: str) -> list[str]:
    """Fold a line as a terminal of that width would."""
    folded = textwrap.wrap(line, _WIDTH, subsequent_indent="    ", drop_whitespace=False)
    return [each.rstrip() for each in folded] or [""]
