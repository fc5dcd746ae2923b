"""Drives a headless Chromium over its debugging pipe, with the standard library alone."""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

PROGRAM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
"""Where Chromium is, None where it is not installed."""

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)


class Browser:
    """One page in a browser of its own; use it as a context manager."""

    def __init__(
        self, *, width: int = 1360, height: int = 860, dark: bool = False, phone: bool = False
    ) -> None:
        self._size = {
            "width": width,
            "height": height,
            "deviceScaleFactor": 2 if phone else 1,
            "mobile": phone,
        }
        self._scheme = "dark" if dark else "light"
        self._numbers = itertools.count(1)
        self._rest = b""

    def __enter__(self) -> Browser:
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)
        read_there, self._to = os.pipe()
        self._from, write_there = os.pipe()
        # Chromium reads commands from 3 and writes answers to 4; from above 9 nothing is overwritten on the way.
        there = [fcntl.fcntl(each, fcntl.F_DUPFD, 10) for each in (read_there, write_there)]
        with_pipes = ("bash", "-c", f'exec "$@" 3<&{there[0]} 4>&{there[1]}', "browser")
        self._process = subprocess.Popen(
            [*with_pipes, str(PROGRAM), *_FLAGS, f"--user-data-dir={self._profile.name}", "about:blank"],
            pass_fds=there,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for each in (read_there, write_there, *there):
            os.close(each)
        targets = self._ask("Target.getTargets")["targetInfos"]
        page = next(each["targetId"] for each in targets if each["type"] == "page")
        self._session = self._ask("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        self._tell("Emulation.setDeviceMetricsOverride", **self._size)
        scheme = [{"name": "prefers-color-scheme", "value": self._scheme}]
        self._tell("Emulation.setEmulatedMedia", features=scheme)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)
        os.close(self._to)
        os.close(self._from)
        self._profile.cleanup()

    def open(self, page: Path, *, fragment: str = "") -> None:
        """Show a page, and wait until it says that it is ready."""
        self._tell("Page.navigate", url=f"{page.absolute().as_uri()}{'#' if fragment else ''}{fragment}")
        self.run(
            """new Promise(done => { const look = () => location.protocol === "file:" && document.body
            && document.body.dataset.ready ? done(true) : setTimeout(look, 10); look(); })"""
        )

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression; promises are waited for."""
        answer = self._tell(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in answer:
            raise RuntimeError(json.dumps(answer["exceptionDetails"], indent=1))
        return answer["result"].get("value")

    def until(self, condition: str) -> None:
        """Wait until a JavaScript expression holds."""
        self.run(
            f"new Promise(done => {{ const look = () => {condition} ? done() : setTimeout(look, 10); look(); }})"
        )

    def press(self, *keys: str) -> None:
        """Press keys one after the other: names such as Enter, or characters."""
        for key in keys:
            text = {"Enter": "\r", "Space": " "}.get(key, key if len(key) == 1 else "")
            name = " " if key == "Space" else key
            code = {
                "Enter": 13,
                "Escape": 27,
                "ArrowDown": 40,
                "ArrowUp": 38,
                "Space": 32,
                "End": 35,
                "Home": 36,
            }
            common = {"key": name, "code": key, "windowsVirtualKeyCode": code.get(key, 0)}
            self._tell("Input.dispatchKeyEvent", type="keyDown", **common, **({"text": text} if text else {}))
            self._tell("Input.dispatchKeyEvent", type="keyUp", **common)

    def screenshot(self, path: Path) -> None:
        """Write what is seen as PNG."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        answer = self._tell("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(answer["data"]))

    def _tell(self, method: str, **params: Any) -> dict[str, Any]:
        return self._ask(method, session=self._session, **params)

    def _ask(self, method: str, *, session: str = "", **params: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {
            "id": number,
            "method": method,
            "params": params,
            **({"sessionId": session} if session else {}),
        }
        os.write(self._to, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']}")
                return answer["result"]

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            part = os.read(self._from, 1 << 20)
            if not part:
                raise RuntimeError("The browser ended.")
            self._rest += part
        message, _, self._rest = self._rest.partition(b"\0")
        return json.loads(message)
