"""Bodies of real sockets, read whole: small and large, cut off, held back, beyond measure."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, count, repeat

import pytest
import requests
import urllib3

from tap_d365fo.errors import Interrupted
from tap_d365fo.transport.body import LARGE_PIECE, SMALL_BODY, read_body
from tap_d365fo.transport.turns import Turns

LARGE = 3 * LARGE_PIECE + 17

Serve = Callable[[bytes, int], urllib3.BaseHTTPResponse]


def ticks(step: float) -> Callable[[], float]:
    """Return a clock that goes on by a step at each look."""
    looks = count()
    return lambda: next(looks) * step


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Answer with a body that is announced to be of some length; the connection stays open."""
    done = threading.Event()
    pools: list[urllib3.PoolManager] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(body: bytes, length: int) -> None:
        connection, _ = listener.accept()
        with connection, suppress(ConnectionError):  # who reads may have left
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % length + body)
            done.wait(30)

    def start(body: bytes, length: int) -> urllib3.BaseHTTPResponse:
        threading.Thread(target=answer, args=(body, length), daemon=True).start()
        pools.append(urllib3.PoolManager(timeout=20, retries=False))
        port = listener.getsockname()[1]
        return pools[-1].request("GET", f"http://127.0.0.1:{port}/", preload_content=False)

    yield start
    done.set()
    for pool in pools:
        pool.clear()
    listener.close()


@pytest.mark.parametrize("size", [0, 1, SMALL_BODY, SMALL_BODY + 1, LARGE])
def test_a_body_is_read_whole(serve: Serve, size: int) -> None:
    body = bytes(index % 251 for index in range(size))

    assert read_body(serve(body, size), seconds_left=lambda: 60, look=lambda: None, turns=Turns()) == body


@pytest.mark.parametrize("sent", [SMALL_BODY + 10, LARGE - 1])
def test_a_large_body_that_is_held_back_ends_at_the_deadline(serve: Serve, sent: int) -> None:
    with pytest.raises(requests.Timeout, match="dripping"):
        read_body(serve(b"x" * sent, LARGE), seconds_left=lambda: 0.2, look=lambda: None, turns=Turns())


def test_a_small_body_past_its_deadline_is_too_slow(serve: Serve) -> None:
    with pytest.raises(requests.Timeout, match="dripping"):
        read_body(serve(b"x" * 10, 20), seconds_left=lambda: 0, look=lambda: None, turns=Turns())


def test_a_large_body_is_left_when_the_run_is_to_end(serve: Serve) -> None:
    looks: list[int] = []

    def look() -> None:
        looks.append(1)
        if len(looks) > 5:
            raise Interrupted("Stopped.")

    turns = Turns()
    with pytest.raises(Interrupted):
        read_body(serve(b"x" * LARGE * 3, LARGE * 3), seconds_left=lambda: 60, look=look, turns=turns)
    assert len(looks) == 6
    with turns.taken() as has_turn:
        assert has_turn, "the next body has its turn"


def test_large_bodies_take_turns_while_the_processor_is_busy(serve: Serve) -> None:
    turns, read = Turns(clock=ticks(1.0), processor=ticks(0.6)), threading.Event()
    raw = serve(b"x" * LARGE, LARGE)

    def take() -> None:
        read_body(raw, seconds_left=lambda: 60, look=lambda: None, turns=turns)
        read.set()

    with turns.taken() as is_held:
        assert is_held
        threading.Thread(target=take, daemon=True).start()
        assert not read.wait(0.1)
    assert read.wait(30)


def test_large_bodies_are_read_side_by_side_while_the_processor_waits(serve: Serve) -> None:
    turns = Turns(clock=ticks(1.0), processor=ticks(0.4))

    with turns.taken():
        body = read_body(serve(b"y" * LARGE, LARGE), seconds_left=lambda: 60, look=lambda: None, turns=turns)
        with turns.taken() as is_held:
            assert not is_held, "who goes without a turn passes none on"
    assert body == b"y" * LARGE


def test_a_turn_is_waited_for_only_as_long_as_the_processor_is_busy(serve: Serve) -> None:
    used = chain([0.0, 1.0, 2.0, 3.0, 4.0], repeat(4.0))  # then it waits for the network
    turns = Turns(clock=ticks(1.0), processor=lambda: next(used))

    with turns.taken():
        body = read_body(serve(b"y" * LARGE, LARGE), seconds_left=lambda: 60, look=lambda: None, turns=turns)
    assert body == b"y" * LARGE
    assert next(used) == 4.0


def test_a_moment_is_too_short_to_tell_whether_the_processor_is_busy() -> None:
    turns = Turns(clock=ticks(0.01), processor=ticks(0.01))

    with turns.taken(), turns.taken() as is_held:
        assert not is_held
