"""What only a program shows: how it ends by a signal, and what it says when asked to say more."""

from __future__ import annotations

import json
import signal
import subprocess

import pytest
from door import PROGRAM, Door, Outcome, configured

STREAM = "CustomersV3"


@pytest.fixture
def command(sandbox, program: Door):
    config = sandbox.config(entities=[STREAM], page_size=5, max_parallel_requests=1)
    catalog = configured(program.discover(config).catalog)
    (program.folder / "catalog.json").write_text(json.dumps(catalog))
    files = [
        "--config",
        str(program.folder / "config.json"),
        "--catalog",
        str(program.folder / "catalog.json"),
    ]
    return [str(PROGRAM), "read", *files]


def test_a_read_ended_by_a_signal_leaves_a_state_and_says_that_it_is_incomplete(
    sandbox, command, program: Door
):
    sandbox.faults.add("slow", path=f"/data/{STREAM}", seconds=0.2)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        lines = []
        while not lines or '"RECORD"' not in lines[-1]:
            lines.append(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        lines += process.stdout.readlines()
        code = process.wait(30)
    sandbox.faults.clear()
    ended = Outcome("".join(lines), code)

    rest = program.read(
        json.loads((program.folder / "config.json").read_text()),
        json.loads((program.folder / "catalog.json").read_text()),
        ended.states,
    )

    assert code == 128 + signal.SIGTERM
    assert ended.statuses(STREAM) == ["STARTED", "RUNNING", "INCOMPLETE"]
    assert 0 < len(ended.records(STREAM)) < len(sandbox.truth(STREAM))
    keys = {
        (each["dataAreaId"], each["CustomerAccount"]) for each in ended.records(STREAM) + rest.records(STREAM)
    }
    assert len(keys) == len(sandbox.truth(STREAM))
    assert len(rest.records(STREAM)) < len(sandbox.truth(STREAM))


def test_debugging_says_more_in_messages_and_no_secret(sandbox, command):
    done = subprocess.run([*command, "--debug"], capture_output=True, text=True, check=False, timeout=60)

    outcome = Outcome(done.stdout, done.returncode)

    assert outcome.code == 0
    assert "DEBUG" in {each["level"] for each in outcome.of("LOG")}
    said = done.stdout + done.stderr
    assert sandbox.client_secret not in said
    assert "Bearer" not in said
    assert "eyJ" not in said  # how every token begins
