"""On a terminal a run is drawn as it goes, log lines pass above it, and stdout stays records alone."""

from __future__ import annotations

import fcntl
import io
import json
import logging
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from tap_d365fo.live import TerminalView
from tap_d365fo.tap import view_for
from tap_d365fo.transport.session import Attempt
from tap_d365fo.watch import LogView, Watch

ENTITIES = ["CustomersV3", "MainAccounts"]
READING = SimpleNamespace(expected_rows=100, companies=(1, 4))


class Screen(io.StringIO):
    def __init__(self, is_terminal: bool = True) -> None:
        super().__init__()
        self.is_terminal = is_terminal

    def isatty(self) -> bool:
        return self.is_terminal


class Ticks:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def watch_on(screen: Screen, *, width=140, left=0.0, reason=None) -> Watch:
    session = SimpleNamespace(
        clock=Ticks(),
        pace=SimpleNamespace(waited_seconds=0.0, seconds_left=left, reason=reason),
        traffic=SimpleNamespace(requests=0, bytes_on_wire=0),
        on_event=None,
    )
    return Watch(TerminalView(screen, width=width), session)


def plain(text: str) -> str:
    """Take colours and cursor moves off."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)


def drawn(watch: Watch) -> str:
    watch.view._console.print(watch.view.drawing(watch))
    return plain(watch.view._console.file.getvalue())


def test_a_terminal_shows_what_is_read_how_fast_and_why_it_waits():
    watch = watch_on(Screen(), left=250, reason="Reading CustomersV3: F&O answered 429: it is busy.")
    seen = []

    with watch.over(lambda: {"CustomersV3": "full", "VendorsV2": "full"}):
        watch.began("CustomersV3", READING)
        watch.session.clock.now += 10
        watch.wrote("CustomersV3", SimpleNamespace(block=range(50), deleted=False))
        seen.append(drawn(watch))

    assert re.search(r"CustomersV3 +reading +50 +5 +1 +1/4 +\S+ +10 s", seen[0])
    assert "0 of 2 streams done, 10 s" in seen[0]
    assert "waiting 4 min 10 s more. Reading CustomersV3: F&O answered 429: it is busy." in seen[0]
    assert "VendorsV2" not in seen[0]


def test_a_terminal_shows_that_a_sweep_compares_before_anything_is_written():
    watch = watch_on(Screen())
    seen = []

    with watch.over(lambda: {"CustomersV3": "sweep"}):
        sweep = SimpleNamespace(expected_rows=None, companies=(0, 4), listed=250, to_list=1000)
        watch.began("CustomersV3", sweep)
        watch.session.clock.now += 10
        seen.append(drawn(watch))

    assert re.search(r"CustomersV3 +comparing +0 +0 +0 +0/4 +\S+ +30 s", seen[0])


def test_a_summary_stays_and_log_lines_pass_above_it():
    screen = Screen()
    watch = watch_on(screen)
    handler = logging.StreamHandler(screen)
    logging.getLogger("tap_d365fo.somewhere").addHandler(handler)

    try:
        with watch.over(lambda: {"CustomersV3": "sweep", "VendorsV2": "full", "MainAccounts": "full"}):
            watch.began("CustomersV3", READING)
            watch.session.on_event(Attempt("reading CustomersV3", 200, 0.0, 2048, "CustomersV3"))
            watch.session.clock.now += 2
            watch.wrote("CustomersV3", SimpleNamespace(block=range(50), deleted=False))
            watch.wrote("CustomersV3", SimpleNamespace(block=range(3), deleted=True))
            logging.getLogger("tap_d365fo.somewhere").error(
                "A line [of] a :log: that goes on %s.", "on " * 60
            )
            watch.ended("CustomersV3")
            watch.began("VendorsV2", READING)
            watch.failed("VendorsV2")
    finally:
        logging.getLogger("tap_d365fo.somewhere").removeHandler(handler)

    shown = plain(screen.getvalue())
    assert handler.stream is screen
    assert f"A line [of] a :log: that goes on {'on ' * 60}.\n" in shown
    assert re.search(r"CustomersV3 +sweep +50 +3 +1 +2.0 KiB +2.0 s +25 +whole", shown)
    assert re.search(r"VendorsV2 +full +0 +0 +0 B +0.0 s +0 +failed", shown)
    assert re.search(r"MainAccounts +full +0 +0 +0 B +0.0 s +0 +not read", shown)
    assert shown.endswith("1 of 3 streams read whole: 50 rows, 3 deletes in 2.0 s.\n")
    assert screen.getvalue().rindex("\x1b[?25h") > screen.getvalue().rindex("\x1b[?25l")


def test_names_stay_whole_on_a_narrow_screen():
    screen = Screen()
    watch = watch_on(screen, width=80)

    with watch.over(lambda: {"SalesOrderHeadersV2": "full"}):
        watch.began("SalesOrderHeadersV2", READING)
        watch.ended("SalesOrderHeadersV2")

    assert "SalesOrderHeadersV2 full" in plain(screen.getvalue())
    assert max(map(len, plain(screen.getvalue()).splitlines())) <= 80


@pytest.mark.parametrize(
    ("stderr", "stdout", "term", "view"),
    [
        (True, False, "xterm", TerminalView),
        (True, True, "xterm", LogView),
        (True, False, "dumb", LogView),
        (True, False, None, LogView),
        (False, False, "xterm", LogView),
        (False, True, "xterm", LogView),
    ],
)
def test_only_a_screen_without_records_on_it_is_drawn_on(stderr, stdout, term, view):
    environ = {"TERM": term} if term else {}

    assert isinstance(view_for(Screen(stderr), Screen(stdout), environ), view)


# -- as a program -----------------------------------------------------------------------------------------


def watched(sandbox, tmp_path, program: list[str], *, until=(), **settings) -> tuple[int, bytes, str]:
    """Run a program with its stderr on a terminal; return exit code, stdout and what was on the screen."""
    config = tmp_path / "config.json"
    config.write_text(json.dumps({**sandbox.config(entities=ENTITIES), **settings}))
    screen, there = pty.openpty()
    fcntl.ioctl(there, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 160, 0, 0))
    command = [str(Path(sys.executable).with_name(program[0])), *program[1:], "--config", str(config)]
    running = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=there, env={**os.environ, "TERM": "xterm", "COLUMNS": "160"}
    )
    os.close(there)
    shown = bytearray()

    def look() -> None:
        while True:
            try:
                part = os.read(screen, 65536)
            except OSError:  # how a pseudo-terminal says that its other side is gone
                return
            if not part:
                return
            shown.extend(part)
            if until and until[0] in shown:
                running.send_signal(signal.SIGINT)
                until.clear()

    watching = threading.Thread(target=look)
    watching.start()
    out, _ = running.communicate(timeout=120)
    watching.join()
    os.close(screen)
    return running.returncode, out, shown.decode()


def test_stdout_is_messages_alone_while_a_terminal_is_drawn_on(sandbox, tmp_path):
    code, out, shown = watched(sandbox, tmp_path, ["tap-d365fo"])

    messages = [json.loads(line) for line in out.splitlines()]
    rows = sum(each["type"] == "RECORD" and each["stream"] == "CustomersV3" for each in messages)
    assert code == 0
    assert {each["type"] for each in messages} >= {"SCHEMA", "RECORD", "STATE"}
    assert re.search(rf"CustomersV3 +full +{rows} .*whole", plain(shown))
    assert "2 of 2 streams read whole" in plain(shown)
    assert b"\x1b" not in out


def test_what_failed_is_said_above_the_summary_and_ends_with_1(sandbox, tmp_path):
    sandbox.switches["auth.denied"] = "MainAccounts"

    code, _, shown = watched(sandbox, tmp_path, ["tap-d365fo"])

    assert code == 1
    text = " ".join(plain(shown).split())  # a long line is folded anywhere
    assert "MainAccounts was not read whole" in text, text
    said, summed = (text.index(each) for each in ("MainAccounts was not read whole", "throttled"))
    assert said < summed
    assert re.search(r"MainAccounts +full +0 .*failed", plain(shown))


def test_a_run_that_is_ended_leaves_a_summary_and_the_cursor(sandbox, tmp_path):
    sandbox.switches["latency.page_s"] = 0.3

    code, _, shown = watched(sandbox, tmp_path, ["tap-d365fo"], until=[b"reading"], page_size=5)

    assert code == 130
    assert re.search(r"CustomersV3 +full .*interrupted", plain(shown))
    assert shown.rindex("\x1b[?25h") > shown.rindex("\x1b[?25l")


def test_an_end_by_force_gives_the_cursor_back():
    screen, there = pty.openpty()

    done = subprocess.run(
        [sys.executable, "-c", "from tap_d365fo.tap import _end_at_once\n_end_at_once(143)"],
        stderr=there,
        check=False,
    )

    os.close(there)
    assert done.returncode == 143
    assert b"\x1b[?25h" in os.read(screen, 1000)
    os.close(screen)


def test_the_airbyte_door_is_drawn_too_and_stays_protocol_on_stdout(sandbox, tmp_path):
    stream = {
        "name": "MainAccounts",
        "json_schema": {"type": "object", "properties": {}},
        "supported_sync_modes": ["full_refresh"],
    }
    catalog = tmp_path / "catalog.json"
    configured = {"stream": stream, "sync_mode": "full_refresh", "destination_sync_mode": "overwrite"}
    catalog.write_text(json.dumps({"streams": [configured]}))

    code, out, shown = watched(sandbox, tmp_path, ["source-d365fo", "read", "--catalog", str(catalog)])

    messages = [json.loads(line) for line in out.splitlines()]
    rows = sum(each["type"] == "RECORD" for each in messages)
    assert code == 0
    assert {each["type"] for each in messages} <= {"RECORD", "STATE", "TRACE", "LOG"}
    assert re.search(rf"MainAccounts +full +{rows} .*whole", plain(shown))
    assert rows == len(sandbox.truth("MainAccounts"))


@pytest.mark.parametrize("arguments", [["--version"], ["--help"]])
def test_who_does_not_watch_does_not_pay(arguments):
    script = (
        "import sys\nfrom tap_d365fo.tap import TapD365FO\n"
        f"try:\n    TapD365FO.cli({arguments})\n"
        "except SystemExit:\n    pass\n"
        "print([each for each in sys.modules if each.split('.')[0] == 'rich'], file=sys.stderr)"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)

    assert done.returncode == 0
    assert done.stderr.splitlines()[-1] == "[]"
