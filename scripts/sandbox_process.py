"""The sandbox as a program of its own, as a user would start it, for the project's scripts."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import time
import urllib.request
from decimal import Decimal
from pathlib import Path
from typing import Any


class Sandbox:
    """A running sandbox; use it as a context manager."""

    def __init__(self, bin_folder: Path, work: Path, *options: str) -> None:
        self._work = work
        self._ready = work / "sandbox-config.json"
        self._command = [str(bin_folder / "d365fo"), "sandbox", "--write-config", str(self._ready), *options]
        self.config: dict[str, Any] = {}
        """The four credentials, ready for the tap."""
        self.variables: dict[str, str] = {}
        """The environment for programs that are to trust the sandbox."""

    def __enter__(self) -> Sandbox:
        self._ready.unlink(missing_ok=True)
        log = self._work / "sandbox.log"
        with log.open("w") as output:
            self._process = subprocess.Popen(self._command, stdout=output, stderr=output)
        give_up = time.monotonic() + 30
        while not self._ready.exists() or not self._ready.read_text():
            if self._process.poll() is not None or time.monotonic() > give_up:
                raise SystemExit(f"The sandbox did not start:\n{log.read_text()}")
            time.sleep(0.05)
        self.config = json.loads(self._ready.read_text())
        ca_file = str(self._work / "sandbox-ca.pem")
        self._trust = ssl.create_default_context(cafile=ca_file)
        self.variables = {**os.environ, "REQUESTS_CA_BUNDLE": ca_file, "TAP_D365FO_LOGLEVEL": "WARNING"}
        return self

    def advance(self) -> None:
        """Let some rows come, change and go."""
        self._ask("advance", "POST")

    def truth(self, stream: str) -> list[dict[str, Any]]:
        """Return the rows of an entity as they stand, decimals exact."""
        answer = json.loads(self._ask(f"truth/{stream}", "GET"), parse_float=Decimal)
        return answer["value"] if isinstance(answer, dict) else answer

    def _ask(self, what: str, method: str) -> bytes:
        url = f"{self.config['environment_url'].rstrip('/')}/__sandbox__/{what}"
        request = urllib.request.Request(url, method=method)
        with urllib.request.urlopen(request, context=self._trust) as answer:
            return answer.read()

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
