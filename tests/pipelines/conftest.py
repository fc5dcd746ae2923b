"""A PostgreSQL server of our own, and a pipe from the installed tap into a target."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "scripts"))

from environments import environment
from postgres import find, postgres

PACKAGES = {
    "target-postgres": "meltanolabs-target-postgres==0.8.1",
    "target-jsonl": "target-jsonl==0.1.4",
    "singer-tools": "singer-tools==0.4.1",
}
BIN = Path(sys.executable).parent


@pytest.fixture(scope="module")
def server():
    if find() is None:
        pytest.skip("There is no PostgreSQL server here, and none could be installed.")
    with postgres() as running:
        yield running


@pytest.fixture(scope="session")
def installed():
    """The `bin` folders of foreign programs, each in an environment of its own."""
    return {name: environment(name, package) for name, package in PACKAGES.items()}


@pytest.fixture(scope="session")
def target_postgres(installed):
    return installed["target-postgres"] / "target-postgres"


@pytest.fixture
def read(tmp_path):
    """Run the installed tap, from the last state that a target confirmed; return what it says."""

    def run(config: dict) -> bytes:
        (tmp_path / "config.json").write_text(json.dumps(config))
        state = tmp_path / "state.json"
        command = [str(BIN / "tap-d365fo"), "--config", str(tmp_path / "config.json")]
        command += ["--state", str(state)] if state.exists() else []
        done = subprocess.run(command, capture_output=True, check=False, env=dict(os.environ), timeout=120)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout

    return run


@pytest.fixture
def write(tmp_path):
    """Feed a target; keep the state that it confirms where it ends well."""

    def run(target: Path, settings: dict, words: bytes) -> subprocess.CompletedProcess[bytes]:
        (tmp_path / "target.json").write_text(json.dumps(settings))
        command = [str(target), "--config", str(tmp_path / "target.json")]
        done = subprocess.run(command, input=words, capture_output=True, check=False, timeout=120)
        if done.returncode == 0:
            (tmp_path / "state.json").write_bytes(done.stdout.strip().splitlines()[-1])
        return done

    return run


@pytest.fixture
def pipe(read, write):
    """Pipe the tap into a target; return what the tap said."""

    def run(target: Path, settings: dict, config: dict) -> bytes:
        words = read(config)
        done = write(target, settings, words)
        assert done.returncode == 0, done.stderr.decode()[-3000:]
        return words

    return run


@pytest.fixture
def into_postgres(server):
    """Settings of meltanolabs-target-postgres, rows that are gone removed."""
    return {
        "host": "127.0.0.1",
        "port": server.port,
        "user": "postgres",
        "password": "unused",
        "database": "postgres",
        "default_target_schema": "fno",
        "activate_version": True,
        "hard_delete": True,
        "add_record_metadata": True,
    }
