"""Makes Python environments for the project's own scripts: one for the tap, one for each foreign program.

Standard library alone: this runs before anything is installed. A stamp file remembers what an environment
was made for, so that a second call costs nothing.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
HOME = ROOT / ".envs"


def environment(name: str, *packages: str, editable: bool = False) -> Path:
    """Return the `bin` folder of an environment that holds these packages, made if need be.

    With `editable` the project itself is installed from this checkout.
    """
    home = HOME / name
    stamp, wanted = home / ".made-for", _wanted(packages, editable=editable)
    with _alone(name):
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
            uv = _uv()
            _run(uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(home))
            local = ["-e", str(ROOT)] if editable else []
            _run(uv, "pip", "install", "--quiet", "--python", str(home / "bin" / "python"), *packages, *local)
            stamp.write_text(wanted, encoding="utf-8")
    return home / "bin"


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """Let one process or thread make an environment while others who want it wait."""
    HOME.mkdir(exist_ok=True)
    with (HOME / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _wanted(packages: tuple[str, ...], *, editable: bool) -> str:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8") if editable else ""
    return "\n".join([sys.version, *packages, project])


def _uv() -> str:
    """Return the path of uv, which installs in seconds what pip installs in a minute."""
    home = HOME / "uv"
    uv = home / "bin" / "uv"
    with _alone("uv"):
        if not uv.exists():
            _run(sys.executable, "-m", "venv", str(home))
            _run(
                str(home / "bin" / "python"),
                "-m",
                "pip",
                "install",
                "-q",
                "--disable-pip-version-check",
                "uv",
            )
    return str(uv)


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
