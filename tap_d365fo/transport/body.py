"""Reads a response body whole, as fast as urllib3 can and no slower than a deadline allows.

A small answer is read piece by piece as it comes. A large one is read in large pieces, which costs half the
processor time but waits for each piece to be full: a server that sends a byte now and then would hold it for
ever, so a timer ends the connection at the deadline.
"""

from __future__ import annotations

import threading
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import requests

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

    import urllib3

    from tap_d365fo.transport.turns import Turns

SMALL_BODY = 256 * 1024
LARGE_PIECE = 1024 * 1024
LARGEST_BODY = 1024 * 1024 * 1024
"""A page aims at 16 MiB and metadata has about 50: a body beyond this is no answer."""


def read_body(
    raw: urllib3.BaseHTTPResponse,
    *,
    seconds_left: Callable[[], float],
    look: Callable[[], None],
    turns: Turns,
) -> bytes:
    """Return a body, decompressed; urllib3 tells one that was cut off.

    `look` is called between pieces, to raise where the run is to end. Raises requests' Timeout where no
    seconds are left, and its ConnectionError for a body that is too large to be an answer.
    """
    parts: list[bytes] = []
    size = 0
    with closing(_pieces(raw, seconds_left, turns)) as pieces:
        for part in pieces:
            parts.append(part)
            size += len(part)
            if size > LARGEST_BODY:
                raise requests.ConnectionError(f"the answer is larger than {LARGEST_BODY} bytes")
            if seconds_left() <= 0:
                raise _dripping()
            look()
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _pieces(
    raw: urllib3.BaseHTTPResponse, seconds_left: Callable[[], float], turns: Turns
) -> Generator[bytes, None, None]:
    size = 0
    while size < SMALL_BODY:
        if not (part := raw.read1(SMALL_BODY, decode_content=True)):
            return
        yield part
        size += len(part)
    with _ended_after(raw, seconds_left()), turns.taken():
        while part := raw.read(LARGE_PIECE, decode_content=True):
            yield part


@contextmanager
def _ended_after(raw: urllib3.BaseHTTPResponse, seconds: float) -> Iterator[None]:
    """End the connection after some seconds; what then looks like a body cut off is told as one too slow."""
    overdue = threading.Event()

    def end() -> None:
        overdue.set()
        with suppress(OSError, ValueError, RuntimeError):  # the body may have ended meanwhile
            raw.shutdown()

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()
    try:
        yield
    except Exception as exc:
        raise (_dripping() if overdue.is_set() else exc) from exc
    finally:
        timer.cancel()
    if overdue.is_set():
        raise _dripping()


def _dripping() -> requests.Timeout:
    return requests.Timeout("the answer kept dripping in")
