"""Pictures for the documentation: the explorer in a real browser, and a run on a real terminal."""

from __future__ import annotations

import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import browser as browsers
import pyte
from environments import ROOT
from rich.console import Console
from rich.style import Style
from rich.text import Text

from tap_d365fo.sandbox.server import Sandbox

DOCS = ROOT / "docs"
BIN = Path(sys.executable).parent
_ROWS, _COLUMNS = 24, 116
_ENTITIES = [
    "CustomersV3",
    "VendorsV2",
    "SalesOrderHeadersV2",
    "SalesOrderLinesV3",
    "MainAccounts",
    "ExchangeRates",
]

_LOOKS: tuple[tuple[str, dict[str, object], str, str], ...] = (
    ("explorer-desktop", {"width": 1280, "height": 800}, "SalesOrderHeadersV2", "sales"),
    ("explorer-dark", {"width": 1280, "height": 800, "dark": True}, "CustomersV3", ""),
    ("explorer-phone", {"width": 390, "height": 780, "phone": True}, "", "sales order"),
)
"""Name, the browser's looks, the entity that is opened, and what is searched for."""


# -- the explorer ----------------------------------------------------------------------------------------


def write_explorer() -> None:
    """Take the explorer's pictures, of an environment of the usual size."""
    if browsers.PROGRAM is None:
        raise SystemExit("The explorer's pictures need Chromium (Debian's package chromium).")
    with _environment({"metadata.scale": "full"}) as (folder, variables):
        page = folder / "explorer.html"
        _d365fo(
            "entities", "--config", "config.json", "--html", str(page), folder=folder, variables=variables
        )
        for name, looks, fragment, search in _LOOKS:
            with browsers.Browser(**looks) as browser:  # type: ignore[arg-type]
                browser.open(page, fragment=fragment)
                if search:
                    browser.run(_SEARCH.format(text=json.dumps(search)))
                browser.screenshot(DOCS / f"{name}.png")


_SEARCH = """(text => {{ const box = document.getElementById('query'); box.value = text;
box.dispatchEvent(new Event('input')); }})({text})"""


# -- a run -----------------------------------------------------------------------------------------------


def write_run() -> None:
    """Draw a run's terminal as it was in the middle and as it is left at the end."""
    slow = {"latency.page_s": 0.3, "throttle.concurrent": 6}
    with _environment(slow, scale=12, page_size=100) as (folder, variables):
        terminal = {"TERM": "xterm-256color", "COLUMNS": str(_COLUMNS), "LINES": str(_ROWS)}
        variables |= {**terminal, "TAP_D365FO_LOGLEVEL": "WARNING"}
        catalog = _d365fo("--discover", program="tap-d365fo", folder=folder, variables=variables)
        (folder / "catalog.json").write_bytes(catalog)
        command = [str(BIN / "tap-d365fo"), "--config", "config.json", "--catalog", "catalog.json"]
        screens = list(_watched(command, folder, variables))
    for name, screen in (("run", max(screens[:-1], key=_telling)), ("summary", screens[-1])):
        console = Console(record=True, width=_COLUMNS, file=io.StringIO())
        console.print(_without_blank_lines(screen))
        title = "tap-d365fo --config config.json --catalog catalog.json | target-duckdb"
        svg = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title=title), flags=re.DOTALL)
        (DOCS / f"{name}.svg").write_text(svg, encoding="utf-8")


def _telling(screen: Text) -> tuple[int, ...]:
    """Return how much a drawing tells, to compare: streams, and one that is in the middle of its rows."""
    lines = screen.plain.splitlines()
    reading = [line for line in lines if "reading" in line and "/5" in line]
    return len(reading), sum("whole" in line for line in lines[:-1]), -abs(sum(map(len, reading)) - 80)


def _watched(command: list[str], folder: Path, variables: dict[str, str]) -> Iterator[Text]:
    """Run a command with a terminal as its standard error; yield what the screen showed, the end last."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    screen = pyte.Screen(_COLUMNS, _ROWS)
    stream = pyte.ByteStream(screen)
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=follower,
    )
    os.close(follower)
    while part := _read(leader):
        stream.feed(part)
        yield _text(screen)
    os.close(leader)
    if process.wait():
        raise SystemExit(f"The run ended with {process.returncode}:\n{_text(screen).plain}")
    yield _text(screen)


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 1 << 16)
    except OSError:  # Linux tells the end of a terminal so
        return b""


def _text(screen: pyte.Screen) -> Text:
    lines = []
    for row in range(_ROWS):
        line = Text()
        for column in range(_COLUMNS):
            cell = screen.buffer[row][column]
            line.append(cell.data, _style(cell))
        line.rstrip()
        lines.append(line)
    return Text("\n").join(lines)


def _style(cell: pyte.screens.Char) -> Style:
    colour = "yellow" if cell.fg == "brown" else cell.fg
    known = colour if colour in ("red", "green", "yellow", "blue", "magenta", "cyan") else None
    return Style(color=known, bold=cell.bold, italic=cell.italics)


def _without_blank_lines(text: Text) -> Text:
    return Text("\n").join([line for line in text.split("\n") if line.plain.strip()])


# -- both ------------------------------------------------------------------------------------------------


@contextmanager
def _environment(
    switches: dict[str, object], *, scale: float = 1, **settings: object
) -> Iterator[tuple[Path, dict[str, str]]]:
    """Start a sandbox; yield a folder with settings for it, and the variables of programs that are to trust it."""
    made = Sandbox(seed=7, switches=switches, scale=scale)
    with made as sandbox, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "config.json").write_text(json.dumps(sandbox.config(entities=_ENTITIES, **settings)))
        trusted = {"REQUESTS_CA_BUNDLE": str(sandbox.ca_file), "XDG_CACHE_HOME": name}
        yield folder, {"PATH": os.environ["PATH"], "HOME": name, **trusted}


def _d365fo(*arguments: str, program: str = "d365fo", folder: Path, variables: dict[str, str]) -> bytes:
    command = [str(BIN / program), *(("--config", "config.json") if program != "d365fo" else ()), *arguments]
    return subprocess.run(command, cwd=folder, env=variables, check=True, stdout=subprocess.PIPE).stdout
