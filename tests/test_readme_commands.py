"""Every command that the README shows is run here, in its order, against the sandbox.

Programs that are not ours (pip, Meltano, a target) are stood in for by ones that note how they were called; with the
real ones `make demo`, `make meltano` and `make targets` run the same commands.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```sh\n(.*?)^```", README, re.DOTALL | re.MULTILINE)
FOREIGN = ("pip", "make", "meltano", "target-jsonl", "target-postgres")
SERVERS = ("d365fo sandbox",)
"""Commands that run until they are ended."""


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """A folder as a newcomer has it, with the four credentials, and the variables of its shell."""
    from tap_d365fo.sandbox.server import Sandbox

    folder = tmp_path_factory.mktemp("desk")
    (folder / "bin").mkdir()
    for name in FOREIGN:
        program = folder / "bin" / name
        program.write_text(
            f'#!/bin/sh\necho "{name} $*" >> {folder}/called\n[ -t 0 ] || cat >> {folder}/{name}.in\n'
        )
        program.chmod(0o755)
    with Sandbox(seed=7) as sandbox:
        settings = sandbox.config(entities=["CustomerGroups", "MainAccounts"])
        (folder / "sample_config.json").write_text(json.dumps(settings))
        (folder / "target.json").write_text("{}")
        (folder / "state.json").write_text("{}")
        path = os.pathsep.join([str(folder / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
        yield folder, {"PATH": path, "HOME": str(folder), "REQUESTS_CA_BUNDLE": str(sandbox.ca_file)}


def commands() -> list[str]:
    return [line for block in BLOCKS for line in block.splitlines() if line and not line.startswith("#")]


def test_the_commands_of_the_readme_do_what_they_say(desk):
    folder, variables = desk
    for command in commands():
        if command.startswith(SERVERS):
            _starts(command, folder, variables)
            continue
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=folder,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    called = (folder / "called").read_text()
    assert "pip install tap-d365fo\n" in called
    assert "meltano run tap-d365fo target-jsonl\n" in called
    for target in ("target-jsonl", "target-postgres"):
        messages = [json.loads(line) for line in (folder / f"{target}.in").read_text().splitlines()]
        assert {each["stream"] for each in messages if each["type"] == "RECORD"} == {
            "CustomerGroups",
            "MainAccounts",
        }
    assert "<html" in (folder / "explorer.html").read_text()[:200].lower()


def _starts(command: str, folder: Path, variables: dict[str, str]) -> None:
    """Start a server in a folder of its own, and see it write what it was asked to."""
    place = folder / "server"
    place.mkdir(exist_ok=True)
    with subprocess.Popen(
        ["bash", "-c", f"exec {command}"], cwd=place, env=variables, stdout=subprocess.DEVNULL
    ) as made:
        give_up = time.monotonic() + 30
        while not (place / "config.json").exists() and time.monotonic() < give_up and made.poll() is None:
            time.sleep(0.05)
        made.terminate()
    assert (place / "config.json").exists(), command


@pytest.mark.parametrize(
    "verb", sorted(set(re.findall(r"`make ([a-z]+)`|^make ([a-z]+)$", README, re.MULTILINE)))
)
def test_every_verb_of_the_readme_knows_what_to_do(verb):
    done = subprocess.run(
        ["make", "-n", "".join(verb)], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_the_capabilities_of_the_readme_are_the_taps_own():
    shown = re.search(r"^\| capabilities \| (.*) \|$", README, re.MULTILINE)
    assert shown is not None
    about = subprocess.run(
        [sys.executable, "-m", "tap_d365fo.tap", "--about", "--format=json"],
        capture_output=True,
        text=True,
        check=True,
    )

    known = {*json.loads(about.stdout)["capabilities"], "test"}  # which the SDK does not list
    assert set(re.findall(r"`([a-z-]+)`", shown[1])) == known
