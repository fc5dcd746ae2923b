"""The sandbox as a program: started, used from outside, stopped."""

from __future__ import annotations

import argparse
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from tap_d365fo.cli import sandbox as door
from tap_d365fo.sandbox.faults import FAULTS
from tap_d365fo.sandbox.program import main
from tap_d365fo.sandbox.switches import SWITCHES


@pytest.fixture
def started(tmp_path):
    """A sandbox in a process of its own, with what it wrote."""
    files = ["--write-config", tmp_path / "new" / "config.json", "--state-file", tmp_path / "state.json"]
    command = [
        sys.executable,
        "-m",
        "tap_d365fo.sandbox",
        "--fault",
        "slow:share=0",
        "--switch",
        "gzip=off",
        *files,
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    until = time.monotonic() + 20
    while not (tmp_path / "state.json").exists() and time.monotonic() < until:
        assert process.poll() is None
        time.sleep(0.02)
    yield process, json.loads((tmp_path / "state.json").read_text())
    process.kill()
    process.stdout.close()
    process.wait()


def test_a_script_can_use_change_and_stop_it(started):
    process, state = started
    session = requests.Session()
    session.trust_env, session.verify = False, state["ca_file"]
    control = state["url"] + "/__sandbox__"
    config = json.loads(Path(state["config"]).read_text())
    assert config["environment_url"] == config["authority"] == state["url"]

    before = session.get(f"{control}/truth/Workers", timeout=10).json()
    counts = session.post(f"{control}/advance", timeout=10).json()
    after = session.get(f"{control}/truth/Workers", timeout=10).json()
    assert len(after) == len(before) + counts["Workers"]["inserted"] - counts["Workers"]["deleted"]
    assert session.post(f"{control}/faults", json={"add": ["503-bare"]}, timeout=10).json()["faults"] == [
        "slow",
        "503-bare",
    ]
    assert (
        session.post(f"{control}/switches", json={"setup": "unregistered"}, timeout=10).json()["setup"]
        == "unregistered"
    )
    session.post(
        f"{control}/insert/CustomerGroups", json={"dataAreaId": "usmf", "CustomerGroupId": "77"}, timeout=10
    )
    assert session.post(f"{control}/reset", timeout=10).json() == {"reset": True}
    assert session.get(f"{control}/truth/Workers", timeout=10).json() == before
    report = session.get(f"{control}/report", timeout=10).json()
    assert (report["leaks"], report["violations"]) == (0, 0)
    assert session.get(f"{control}/nonsense", timeout=10).status_code == 404
    assert session.get(f"{control}/truth/Nope", timeout=10).status_code == 400

    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == 0
    said = process.stdout.read()
    assert said.startswith("What this sandbox does not imitate:")
    assert f"export REQUESTS_CA_BUNDLE={state['ca_file']}" in said
    assert said.endswith("Stopped.\n")


def test_what_there_is_can_be_listed(capsys):
    assert main(["--list-faults"]) == 0
    faults = capsys.readouterr().out
    assert all(name in faults for name in FAULTS)
    assert main(["--list-switches"]) == 0
    switches = capsys.readouterr().out
    assert all(name in switches for name in SWITCHES)


@pytest.mark.parametrize(
    "wrong", [["--fault", "weather"], ["--switch", "nonsense=1"], ["--switch", "gzip=maybe"]]
)
def test_a_wrong_option_is_one_clear_line(capsys, wrong):
    assert main(wrong) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("The sandbox cannot start: ")
    assert shown.err.count("\n") == 1


def test_the_verb_fits_into_the_command_line(capsys):
    parser = argparse.ArgumentParser()
    door.add_parser(parser.add_subparsers())

    args = parser.parse_args(["sandbox", "--list-faults"])

    assert args.run(args) == 0
    assert "throttle-429" in capsys.readouterr().out
