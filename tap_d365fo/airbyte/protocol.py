"""Airbyte's protocol messages as plain values, and the one place that writes them to stdout."""

from __future__ import annotations

import logging
import sys
import time
import traceback
from typing import Any, Literal

import simplejson

from tap_d365fo.errors import D365FOError, printable

FAILURE_TYPES = {"config": "config_error", "transient": "transient_error", "system": "system_error"}
LEVELS = {"DEBUG": "DEBUG", "INFO": "INFO", "WARNING": "WARN", "ERROR": "ERROR", "CRITICAL": "FATAL"}

Status = Literal["STARTED", "RUNNING", "COMPLETE", "INCOMPLETE"]


def now_ms() -> int:
    """Return milliseconds since 1970."""
    return int(time.time() * 1000)


def emit(message: dict[str, Any]) -> None:
    """Write one message as a line."""
    emit_bytes(
        simplejson.dumps(message, use_decimal=True, separators=(",", ":"), default=str).encode() + b"\n"
    )
    sys.stdout.flush()


def emit_bytes(lines: bytes) -> None:
    """Write ready-made lines."""
    raw = getattr(sys.stdout, "buffer", None)
    if raw is None:
        sys.stdout.write(lines.decode())
    else:
        raw.write(lines)


def trace(kind: str, **content: Any) -> dict[str, Any]:
    """Return a TRACE message."""
    return {
        "type": "TRACE",
        "trace": {"type": kind.upper(), "emitted_at": float(now_ms()), kind.lower(): content},
    }


def stream_status(stream: str, status: Status) -> dict[str, Any]:
    """Return the TRACE message that tells where a stream's read stands."""
    return trace("stream_status", stream_descriptor={"name": stream}, status=status)


def estimate(stream: str, rows: int) -> dict[str, Any]:
    """Return the TRACE message that tells how many rows a stream is expected to bring."""
    return trace("estimate", name=stream, type="STREAM", row_estimate=rows)


def error(exc: BaseException, *, stream: str | None = None) -> dict[str, Any]:
    """Return the TRACE message of an error: what a person can act on, and what support asks for."""
    known = isinstance(exc, D365FOError)
    content: dict[str, Any] = {
        "message": f"{exc.message} {exc.remedy or ''}".strip() if known else printable(str(exc)),  # type: ignore[attr-defined]
        "internal_message": f"{type(exc).__name__}: {printable(str(exc))}",
        "failure_type": FAILURE_TYPES[exc.fault] if known else "system_error",  # type: ignore[attr-defined]
    }
    if not known:
        content["stack_trace"] = "".join(traceback.format_exception(exc))[-8000:]
    if stream:
        content["stream_descriptor"] = {"name": stream}
    return trace("error", **content)


class ProtocolLogs(logging.Handler):
    """Turns log records into LOG messages, so that nothing but protocol reaches stdout."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one log record."""
        if record.name.startswith("singer_sdk.metrics"):
            return
        text = printable(record.getMessage())
        emit({"type": "LOG", "log": {"level": LEVELS.get(record.levelname, "INFO"), "message": text}})
