"""One gate for all requests: how many, and from when."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from scripted import FakeClock

from tap_d365fo.errors import Interrupted
from tap_d365fo.transport.pace import SUCCESSES_TO_GROW, HeldTooLong, Pace


class SteppedClock(FakeClock):
    """A clock that moves only when the test says so; those who wait look again every few milliseconds."""

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        condition.wait(0.005)


def test_no_more_requests_are_in_flight_than_allowed():
    pace = Pace(3, FakeClock())
    lock, together = threading.Lock(), threading.Barrier(3)
    now = most = 0

    def request(_: int) -> None:
        nonlocal now, most
        with pace.slot():
            with lock:
                now += 1
                most = max(most, now)
            together.wait(10)
            with lock:
                now -= 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(request, range(12)))

    assert most == 3


def test_a_hold_stops_those_who_come_and_those_who_already_queue():
    clock = SteppedClock()
    pace = Pace(1, clock)
    started: list[float] = []

    def request(_: int) -> None:
        with pace.slot() as began:
            started.append(began)

    with ThreadPoolExecutor(6) as pool:
        with pace.slot() as asked_at:
            waiting = [pool.submit(request, each) for each in range(5)]
            pace.hold(60, reason="busy", asked_at=asked_at)
        late = pool.submit(request, 5)
        clock.pass_time(59.9)
        assert not any(each.done() for each in [*waiting, late])
        assert started == []
        assert pace.reason == "busy"
        clock.pass_time(0.2)
        for each in [*waiting, late]:
            each.result(10)

    assert len(started) == 6
    assert min(started) >= asked_at + 60
    assert pace.reason is None


def test_a_hold_that_grows_while_others_wait_for_it_holds_them_too():
    clock = SteppedClock()
    pace = Pace(2, clock)
    began_at = clock.monotonic()
    pace.hold(10, reason="busy", asked_at=began_at)
    started: list[float] = []

    def request() -> None:
        with pace.slot() as began:
            started.append(began)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(request)
        clock.pass_time(9)
        pace.hold(30, reason="busier", asked_at=began_at)
        clock.pass_time(2)
        threading.Event().wait(0.03)
        assert started == []
        clock.pass_time(30)
        waiting.result(10)

    assert started[0] >= began_at + 39


def test_a_shorter_hold_does_not_cut_a_longer_one_and_waits_are_counted_once():
    clock = FakeClock()
    pace = Pace(4, clock)
    now = clock.monotonic()

    pace.hold(60, reason="busy", asked_at=now)
    pace.hold(10, reason="less busy", asked_at=now)
    pace.hold(70, reason="busier", asked_at=now)

    assert pace.waited_seconds == 70
    assert pace.reason == "busier"
    with pace.slot() as began:
        assert began == now + 70


def test_a_request_that_may_not_wait_so_long_is_told():
    clock = FakeClock()
    pace = Pace(1, clock)
    pace.hold(60, reason="busy", asked_at=clock.monotonic())

    with pytest.raises(HeldTooLong) as caught, pace.slot(until=clock.monotonic() + 59):
        pytest.fail("a place was given")

    assert caught.value.seconds == 60
    with pace.slot(until=clock.monotonic() + 60):
        pass


def test_parallelism_halves_once_for_each_round_of_refusals():
    clock = FakeClock()
    pace = Pace(8, clock)
    first = clock.monotonic()

    for _ in range(5):
        pace.hold(10, reason="busy", asked_at=first)
    after_first = pace.allowed
    clock.pass_time(11)
    for _ in range(5):
        pace.hold(10, reason="busy", asked_at=clock.monotonic())
    after_second = pace.allowed
    for _ in range(5):
        clock.pass_time(11)
        pace.hold(10, reason="busy", asked_at=clock.monotonic())

    assert (after_first, after_second, pace.allowed) == (4, 2, 1)


def test_parallelism_grows_back_one_by_one_to_what_was_set():
    clock = FakeClock()
    pace = Pace(4, clock)
    pace.hold(0, reason="busy", asked_at=clock.monotonic())
    seen = []

    for _ in range(4):
        for _ in range(SUCCESSES_TO_GROW):
            pace.succeeded()
        seen.append(pace.allowed)

    assert seen == [3, 4, 4, 4]


def test_a_refusal_starts_the_count_of_successes_anew():
    clock = FakeClock()
    pace = Pace(4, clock)
    for _ in range(SUCCESSES_TO_GROW - 1):
        pace.succeeded()

    pace.hold(0, reason="busy", asked_at=clock.monotonic())
    pace.succeeded()

    assert pace.allowed == 2


def test_one_who_waits_for_a_place_gets_it_when_parallelism_grows():
    pace = Pace(2, SteppedClock())
    pace.allowed = 1
    entered = threading.Event()

    def request() -> None:
        with pace.slot():
            entered.set()

    with ThreadPoolExecutor(1) as pool, pace.slot():
        pool.submit(request)
        for _ in range(SUCCESSES_TO_GROW):
            pace.succeeded()
        assert entered.wait(10)


def test_a_place_is_given_back_whatever_happens_in_it():
    pace = Pace(1, FakeClock())

    with pytest.raises(ZeroDivisionError), pace.slot():
        raise ZeroDivisionError
    with pace.slot():
        pass


def test_stopping_ends_every_wait_and_lets_nobody_in():
    pace = Pace(1)  # on the machine's clock: the waits below would last for hours
    errors: list[str] = []
    ready = threading.Barrier(4)

    def waits(wait) -> None:
        ready.wait(10)
        with pytest.raises(Interrupted) as caught:
            wait()
        errors.append(caught.value.message)

    def slot() -> None:
        with pace.slot():
            pass

    with pace.slot() as began:
        threads = [
            threading.Thread(target=waits, args=(each,)) for each in (slot, slot, lambda: pace.sleep(9999))
        ]
        for each in threads:
            each.start()
        ready.wait(10)
        pace.hold(9999, reason="busy", asked_at=began)
        pace.stop()
        for each in threads:
            each.join(10)

    assert len(errors) == 3
    assert pace.stopped
    with pytest.raises(Interrupted):
        slot()
    with pytest.raises(Interrupted):
        pace.sleep(1)


def test_sleeping_holds_nobody_else():
    clock = FakeClock()
    pace = Pace(1, clock)

    pace.sleep(10)

    assert clock.waits == [10]
    assert pace.waited_seconds == 0
    with pace.slot() as began:
        assert began == clock.monotonic()
