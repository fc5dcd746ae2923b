"""The load server as a process of its own, started and steered from here."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class LoadServer:
    """A running load server."""

    url: str
    plain_url: str
    ca_file: str

    def behave(self, **values: Any) -> None:
        """Change costs and limits; see `load_server.behaviour.Behaviour`."""
        self._post("behaviour", values)

    def reset(self) -> dict[str, Any]:
        """Count from zero again, and return the counts."""
        return self._post("reset", {})

    def report(self) -> dict[str, Any]:
        """Return what was counted since the last reset, and the server's processor seconds since its start."""
        return self._post("report", {})

    def change(self, entity: str, *, changed: float, deleted: float) -> dict[str, int]:
        """Change and delete a share of an entity's rows."""
        return self._post("change", {"entity": entity, "changed": changed, "deleted": deleted})

    def _post(self, what: str, values: Mapping[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(f"{self.plain_url}/__load__/{what}", json.dumps(values).encode())
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)


@contextmanager
def load_server(
    *, rows: Mapping[str, int], companies: int = 1, full_metadata: bool = False
) -> Iterator[LoadServer]:
    """Start a load server; it ends with the block."""
    command = [sys.executable, "-m", "benchmarks.load_server", "--companies", str(companies)]
    command += [f"--rows={name}={count}" for name, count in rows.items()]
    command += ["--full-metadata"] if full_metadata else []
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        ready = process.stdout.readline()
        try:
            yield LoadServer(**json.loads(ready))
        finally:
            process.communicate()
