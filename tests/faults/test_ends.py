"""How the process ends: by signals, by a reader that goes away, by input that cannot be used."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest
from singer import Target, discover, select, sync

STREAMS = ("CustomersV3", "CustTransBiEntities", "CustomerPostingSetups")
PROMPT_S = 5.0
TAP = [sys.executable, "-c", "from tap_d365fo.tap import main; main()"]


@pytest.fixture
def given(sandbox, tmp_path):
    """Paths of a configuration and a catalog, and both as values."""
    config = sandbox.config(page_size=5, max_parallel_requests=4)
    catalog = select(discover(config), *STREAMS)
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "catalog.json").write_text(json.dumps(catalog))
    return tmp_path, config, catalog


def command(folder: Path, *more: str) -> list[str]:
    return [*TAP, "--config", str(folder / "config.json"), *more]


def started(folder: Path, sandbox, stdout=subprocess.PIPE) -> subprocess.Popen:
    environment = {**os.environ, "REQUESTS_CA_BUNDLE": sandbox.ca_file}
    return subprocess.Popen(
        command(folder, "--catalog", str(folder / "catalog.json")),
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=environment,
        text=True,
    )


def messages(text: str) -> list[dict]:
    return [json.loads(line, parse_float=Decimal) for line in text.split("\n") if line]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("weather", ["latency", "throttled", "stalled"])
def test_a_signal_ends_the_run_promptly_with_a_state_that_is_true(given, sandbox, number, weather):
    folder, config, catalog = given
    if weather == "latency":
        sandbox.switches["latency.page_s"] = 0.15
    fault = {"throttled": "throttle-429:nth=12,retry_after=60", "stalled": "stall:nth=12|13,seconds=60"}.get(
        weather
    )
    if fault:
        sandbox.faults.add(fault)
    out = folder / "out.jsonl"
    with out.open("w") as file:
        process = started(folder, sandbox, stdout=file)
    while out.read_text().count("\n") < 12:
        time.sleep(0.02)
    time.sleep(0.3)

    process.send_signal(number)
    sent = time.monotonic()
    _, log = process.communicate(timeout=30)
    took = time.monotonic() - sent

    assert process.returncode not in (0, None)
    assert took < PROMPT_S
    assert "Traceback" not in log
    said = messages(out.read_text())
    # Where an answer never comes the end is abrupt: rows may follow the last state, and come again.
    last = max(at for at, each in enumerate(said) if each["type"] == "STATE")
    assert {each["type"] for each in said[last + 1 :]} <= ({"RECORD"} if weather == "stalled" else set())
    sandbox.faults.clear()
    sandbox.switches["latency.page_s"] = 0.0
    second = sync(config, catalog, said[last]["value"])
    target = Target().apply(said).apply(second.messages)
    assert second.error is None
    for stream in STREAMS:
        assert len(target.rows[stream]) == len(sandbox.truth(stream))


def test_a_signal_before_anything_was_read_ends_the_run(given, sandbox):
    folder, _, _ = given
    sandbox.faults.add("entra-timeout:share=1,seconds=60")
    process = started(folder, sandbox)
    while not sandbox.faults.struck:
        time.sleep(0.05)

    process.send_signal(signal.SIGTERM)
    sent = time.monotonic()
    out, log = process.communicate(timeout=30)

    assert process.returncode not in (0, None)
    assert time.monotonic() - sent < PROMPT_S
    assert "Traceback" not in log
    assert not [each for each in messages(out) if each["type"] == "RECORD"]


@pytest.mark.parametrize("lines", [0, 1, 3, 40])
def test_a_reader_that_goes_away_ends_the_tap_quietly(given, sandbox, lines):
    folder, _, _ = given
    sandbox.switches["latency.page_s"] = 0.05
    process = started(folder, sandbox)
    for _ in range(lines):
        process.stdout.readline()

    process.stdout.close()
    closed = time.monotonic()
    code = process.wait(timeout=30)
    log = process.stderr.read()
    process.stderr.close()

    assert code != 0
    assert time.monotonic() - closed < PROMPT_S + 3  # its start included
    assert "Traceback" not in log
    assert "BrokenPipe" not in log
