"""A change store behind s3://, against a server that speaks S3."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from pathlib import Path

import pytest
from environments import environment

STEPS = Path(__file__).with_name("store_in_s3.py")


@pytest.fixture(scope="module")
def programs():
    return environment("s3", "moto[server]==5.2.5", "s3fs==2026.9.0", editable=True)


@pytest.fixture
def endpoint(programs):
    """The address of an S3 server."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(programs / "moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait_for(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def _wait_for(port: int) -> None:
    ends = time.monotonic() + 60
    while not _answers(port):
        assert time.monotonic() < ends, "The S3 server does not answer."
        time.sleep(0.1)


def _answers(port: int) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(("127.0.0.1", port)) == 0


def test_a_store_in_a_bucket_is_one_runs_alone_and_never_overwrites_a_newer_one(programs, endpoint):
    account = {"AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any", "AWS_DEFAULT_REGION": "us-east-1"}
    env = {**os.environ, **account, "AWS_ENDPOINT_URL": endpoint, "NO_PROXY": "127.0.0.1,localhost"}

    done = subprocess.run(
        [str(programs / "python"), str(STEPS)], env=env, capture_output=True, check=False, timeout=120
    )

    assert done.returncode == 0, done.stderr.decode()
    told = json.loads(done.stdout)
    assert told["moved"] == []
    assert told["unseen"] == ["k00000"]
    assert "in use by another run" in told["second run"]
    assert told["left"] == ["bucket/stores/CustomersV3.sqlite"]
    assert "was not overwritten" in told["overwriting"]
    assert told["kept"]
    assert told["told before it ended"] == ["new"]
