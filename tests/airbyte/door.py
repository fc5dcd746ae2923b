"""Runs the Airbyte door, in process or as a program, and holds every line to the published protocol."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from tap_d365fo.airbyte import source

PROGRAM = Path(sys.executable).parent / "source-d365fo"


@dataclass
class Outcome:
    """What one run wrote, and its exit code."""

    text: str
    code: int
    messages: list[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        lines = [line for line in self.text.split("\n") if line]
        self.messages = [json.loads(line, parse_float=Decimal) for line in lines]
        validate(lines)

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [each[kind.lower()] for each in self.messages if each["type"] == kind]

    def traces(self, kind: str) -> list[dict[str, Any]]:
        return [each[kind.lower()] for each in self.of("TRACE") if each["type"] == kind]

    def records(self, stream: str) -> list[dict[str, Any]]:
        return [each["data"] for each in self.of("RECORD") if each["stream"] == stream]

    def statuses(self, stream: str) -> list[str]:
        told = self.traces("STREAM_STATUS")
        return [each["status"] for each in told if each["stream_descriptor"]["name"] == stream]

    @property
    def catalog(self) -> dict[str, Any]:
        (catalog,) = self.of("CATALOG")
        return catalog

    @property
    def status(self) -> dict[str, str]:
        (status,) = [
            each["connectionStatus"] for each in self.messages if each["type"] == "CONNECTION_STATUS"
        ]
        return status

    @property
    def errors(self) -> list[dict[str, Any]]:
        return self.traces("ERROR")

    @property
    def states(self) -> list[dict[str, Any]]:
        """The last state of each stream, as the platform hands them to the next run."""
        last = {each["stream"]["stream_descriptor"]["name"]: each for each in self.of("STATE")}
        return [{"type": "STREAM", "stream": each["stream"]} for each in last.values()]

    def state_of(self, stream: str) -> dict[str, Any]:
        (state,) = [each for each in self.states if each["stream"]["stream_descriptor"]["name"] == stream]
        return state["stream"]["stream_state"]


def validate(lines: list[str]) -> None:
    """Hold lines to Airbyte's own models, where those are installed."""
    try:
        from airbyte_protocol.models import AirbyteMessage
    except ImportError:
        return
    for line in lines:
        AirbyteMessage.model_validate_json(line)


class Door:
    """The four commands over files in one folder."""

    def __init__(self, folder: Path, *, as_program: bool = False) -> None:
        self.folder = folder
        self.as_program = as_program

    def spec(self) -> Outcome:
        return self._run("spec")

    def check(self, config: Any) -> Outcome:
        return self._run("check", config=config)

    def discover(self, config: Mapping[str, Any]) -> Outcome:
        return self._run("discover", config=config)

    def read(self, config: Mapping[str, Any], catalog: Any, state: Any = None) -> Outcome:
        given = {"config": config, "catalog": catalog}
        return self._run("read", **given, **({} if state is None else {"state": state}))

    def _run(self, command: str, **files: Any) -> Outcome:
        arguments = [command]
        for name, content in files.items():
            path = self.folder / f"{name}.json"
            path.write_text(content if isinstance(content, str) else json.dumps(content, default=float))
            arguments += [f"--{name}", str(path)]
        return (_as_program if self.as_program else _in_process)(arguments)


def _as_program(arguments: list[str]) -> Outcome:
    done = subprocess.run(
        [str(PROGRAM), *arguments], capture_output=True, text=True, check=False, env=os.environ, timeout=120
    )
    assert "Traceback" not in done.stderr
    return Outcome(done.stdout, done.returncode)


def _in_process(arguments: list[str]) -> Outcome:
    out, code = io.StringIO(), 0
    with redirect_stdout(out), _loggers_kept():
        try:
            source.main(arguments)
        except SystemExit as exc:
            code = int(exc.code or 0)
    return Outcome(out.getvalue(), code)


@contextmanager
def _loggers_kept() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    try:
        yield
    finally:
        root.handlers = handlers
        root.setLevel(level)


def configured(catalog: Mapping[str, Any], *streams: str, mode: str | None = None) -> dict[str, Any]:
    """Return a configured catalog of these streams (or all), in the given mode or the best they offer."""
    chosen = [each for each in catalog["streams"] if not streams or each["name"] in streams]
    return {
        "streams": [
            {
                "stream": each,
                "sync_mode": mode or each["supported_sync_modes"][-1],
                "destination_sync_mode": "append",
                "cursor_field": each.get("default_cursor_field", []),
                "primary_key": each["source_defined_primary_key"],
            }
            for each in chosen
        ]
    }
