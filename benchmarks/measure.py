"""Running a program as a pipeline would, and what the operating system says of it afterwards."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

_PIPE_BYTES = 1024 * 1024
_KIB_PER_MIB = 1024
_TAIL_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Run:
    """One run of one program: the whole process, its start-up too."""

    seconds: float
    cpu_seconds: float
    peak_mib: float
    lines: int
    bytes: int
    tail: str = ""
    """The end of the output, where the last STATE stands."""
    server: Mapping[str, Any] = field(default_factory=dict)
    """What the load server counted meanwhile, and its own processor seconds."""

    @property
    def server_idle(self) -> float:
        """The share of the run in which the server did nothing, of one processor."""
        return 1 - self.server["cpu_seconds"] / self.seconds


class ProgramFailed(RuntimeError):
    """A program ended with another exit code than 0."""


def run(
    command: Sequence[str],
    *,
    env: Mapping[str, str],
    cwd: Path,
    keep: Path | None = None,
    log: Path | None = None,
) -> Run:
    """Run a program, taking its output off a pipe as fast as it comes; raises ProgramFailed.

    `keep` is where the output goes; without it, it is thrown away. A small process of its own does the work,
    because the kernel counts a parent's memory as the child's until the program is loaded.
    """
    log = log or cwd / "stderr.log"
    asked = {"command": command, "cwd": str(cwd), "keep": str(keep or os.devnull), "log": str(log)}
    small = [sys.executable, "-S", "-E", __file__, json.dumps(asked)]
    told = json.loads(subprocess.run(small, env=dict(env), stdout=subprocess.PIPE, check=True).stdout)
    if status := told.pop("status"):
        tail = log.read_text(errors="replace")[-2000:]
        raise ProgramFailed(f"{' '.join(command[:6])} ended with {status}:\n{tail}")
    return Run(**told)


def _spawn(command: Sequence[str], cwd: str, keep: str, log: str) -> dict[str, Any]:
    """Run a program from the small process, and return what was measured."""
    began = time.monotonic()
    with Path(log).open("wb") as errors, Path(keep).open("wb") as output:
        process = subprocess.Popen(command, cwd=cwd, stdout=subprocess.PIPE, stderr=errors)
        assert process.stdout is not None
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        lines, size, tail = 0, 0, b""
        while part := os.read(process.stdout.fileno(), _PIPE_BYTES):
            lines += part.count(b"\n")
            size += len(part)
            tail = (tail + part[-_TAIL_BYTES:])[-_TAIL_BYTES:]
            if keep != os.devnull:
                output.write(part)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - began
    return {
        "status": os.waitstatus_to_exitcode(status),
        "seconds": seconds,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / _KIB_PER_MIB,
        "lines": lines,
        "bytes": size,
        "tail": tail.decode("utf-8", "replace"),
    }


def median_ratio(numerators: Sequence[float], denominators: Sequence[float]) -> float:
    """Return the median of the ratios pair by pair: what is left of a machine whose speed drifts."""
    return median(over / under for over, under in zip(numerators, denominators, strict=True))


if __name__ == "__main__":
    print(json.dumps(_spawn(**json.loads(sys.argv[1]))))
