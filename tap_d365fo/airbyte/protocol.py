"""Airbyte's protocol messages as plain values, and the one place that writes them to stdout."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
import traceback
from typing import Any, Literal

import msgspec

from tap_d365fo.errors import D365FOError, printable

FAILURE_TYPES = {"config": "config_error", "transient": "transient_error", "system": "system_error"}
LEVELS = {"DEBUG": "DEBUG", "INFO": "INFO", "WARNING": "WARN", "ERROR": "ERROR", "CRITICAL": "FATAL"}
MOST_OF_A_STACK = 8000
"""Characters of a stack trace that are sent: its end tells most."""

Status = Literal["STARTED", "RUNNING", "COMPLETE", "INCOMPLETE"]
Message = dict[str, Any]

encode = msgspec.json.Encoder(decimal_format="number", enc_hook=str).encode


def now_ms() -> int:
    """Return milliseconds since 1970."""
    return int(time.time() * 1000)


def emit(message: Message) -> None:
    """Write one message as a line, and everything before it out of the process."""
    emit_lines(encode(message) + b"\n")
    sys.stdout.flush()


def emit_lines(lines: bytes) -> None:
    """Write ready-made lines."""
    raw = getattr(sys.stdout, "buffer", None)
    if raw is None:
        sys.stdout.write(lines.decode())
    else:
        raw.write(lines)


def trace(kind: str, **content: Any) -> Message:
    """Return a TRACE message."""
    return {
        "type": "TRACE",
        "trace": {"type": kind.upper(), "emitted_at": float(now_ms()), kind.lower(): content},
    }


def stream_status(stream: str, status: Status) -> Message:
    """Return the TRACE message that tells where a stream's read stands."""
    return trace("stream_status", stream_descriptor={"name": stream}, status=status)


def estimate(stream: str, rows: int) -> Message:
    """Return the TRACE message that tells how many rows a stream is expected to bring."""
    return trace("estimate", name=stream, type="STREAM", row_estimate=rows)


def state(stream: str, stream_state: dict[str, Any], *, rows: int) -> Message:
    """Return the STATE message of one stream; `rows` counts its records since the last one."""
    return {
        "type": "STATE",
        "state": {
            "type": "STREAM",
            "stream": {"stream_descriptor": {"name": stream}, "stream_state": stream_state},
            "sourceStats": {"recordCount": float(rows)},
        },
    }


def error(exc: BaseException, *, stream: str | None = None) -> Message:
    """Return the TRACE message of an error: what a person can act on, and what support asks for."""
    content: dict[str, Any] = {"internal_message": f"{type(exc).__name__}: {printable(str(exc))}"}
    if isinstance(exc, D365FOError):
        content["message"] = f"{exc.message} {exc.remedy or ''}".strip()
        content["failure_type"] = FAILURE_TYPES[exc.fault]
    else:
        content["message"] = (
            f"The connector stopped on an unexpected {type(exc).__name__}: {printable(str(exc))}"
        )
        content["failure_type"] = "system_error"
        content["stack_trace"] = _stack(exc)
    if stream:
        content["stream_descriptor"] = {"name": stream}
    return trace("error", **content)


def _stack(exc: BaseException) -> str:
    return "".join(traceback.format_exception(type(exc), exc, exc.__traceback__))[-MOST_OF_A_STACK:]


class ProtocolLogs(logging.Handler):
    """Turns log records into LOG messages, so that nothing but protocol reaches stdout."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one log record. Whoever logs is not told when the reader went away: the next message is."""
        if record.name.startswith("singer_sdk.metrics"):
            return  # the protocol has its own counts
        log = {
            "level": LEVELS.get(record.levelname, "INFO"),
            "message": printable(record.getMessage()),
        }
        if record.exc_info and record.exc_info[1] is not None:
            log["stack_trace"] = _stack(record.exc_info[1])
        with contextlib.suppress(OSError):
            emit({"type": "LOG", "log": log})
