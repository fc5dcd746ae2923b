"""A PostgreSQL server for the project's own scripts and tests: real, on loopback, gone afterwards."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server, reached without a password."""

    port: int
    folder: Path

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Return rows as PostgreSQL spells them: every value as text, None for null."""
        wrapped = f"select coalesce(json_agg(row_to_json(t)), '[]') from ({sql}) t"
        done = subprocess.run(
            [
                _program("psql"),
                "-h",
                "127.0.0.1",
                "-p",
                str(self.port),
                "-U",
                "postgres",
                "-qAt",
                "-c",
                wrapped,
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{sql}: {done.stderr}")
        return json.loads(done.stdout)


def find() -> Path | None:
    """Return the folder of PostgreSQL's programs, installing Debian's package where we may; None without one."""
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not folders and os.geteuid() == 0 and shutil.which("apt-get"):
        for command in (["apt-get", "update", "-q"], ["apt-get", "install", "-y", "-q", "postgresql"]):
            subprocess.run(command, capture_output=True, check=False)
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return folders[-1] if folders else None


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Start a server of our own in a temporary folder; raises RuntimeError where there is none to start."""
    programs = find()
    if programs is None:
        raise RuntimeError("There is no PostgreSQL server on this machine, and none could be installed.")
    folder = Path(tempfile.mkdtemp(prefix="tap-d365fo-pg-"))
    folder.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    user = _unprivileged(folder)
    try:
        _run(
            [
                str(programs / "initdb"),
                "-D",
                str(folder / "data"),
                "-U",
                "postgres",
                "--auth=trust",
                "-E",
                "UTF8",
            ],
            user,
        )
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c fsync=off -k {folder}"
        _run(
            [
                str(programs / "pg_ctl"),
                "-D",
                str(folder / "data"),
                "-o",
                options,
                "-l",
                str(folder / "log"),
                "-w",
                "start",
            ],
            user,
        )
        yield Postgres(port, folder)
    finally:
        _stop(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _unprivileged(folder: Path) -> str | None:
    """initdb refuses root: let the user that Debian's package made own the folder."""
    if os.geteuid() != 0:
        return None
    owner = pwd.getpwnam("postgres")
    os.chown(folder, owner.pw_uid, owner.pw_gid)
    return "postgres"


def _run(command: list[str], user: str | None) -> None:
    done = subprocess.run(
        command, user=user, cwd="/", capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]} failed: {done.stdout}{done.stderr}")


def _stop(folder: Path) -> None:
    pid_file = folder / "data" / "postmaster.pid"
    if pid_file.exists():
        os.kill(int(pid_file.read_text().split()[0]), signal.SIGINT)
        give_up = time.monotonic() + 10
        while pid_file.exists() and time.monotonic() < give_up:
            time.sleep(0.05)


def _program(name: str) -> str:
    programs = find()
    return str(programs / name) if programs and (programs / name).exists() else name
