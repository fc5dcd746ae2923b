"""Sending: every kind of answer, weather and refusal, over real TLS."""

from __future__ import annotations

import dataclasses
import gzip
import json
import logging
import math
import threading
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timezone

import pytest
from scripted import (
    NOON,
    SECRET,
    TENANT,
    TOKEN_PATH,
    FixedRandom,
    Reply,
    reply_entra_error,
    reply_error,
    reply_html,
    reply_json,
    reply_token,
    token_text,
)
from urllib3.util.ssl_ import create_urllib3_context

from tap_d365fo import errors, remedies
from tap_d365fo.errors import (
    AccessDeniedError,
    AuthenticationError,
    BrokenAnswerError,
    D365FOError,
    EntitySetNotFoundError,
    Interrupted,
    PagingError,
    QueryRejectedError,
    QueryTooLongError,
    ServiceUnavailableError,
    SlowAnswerError,
    ThrottledError,
    TransportError,
    UnreadablePageError,
)
from tap_d365fo.transport import body, http, retry
from tap_d365fo.transport import session as module
from tap_d365fo.transport.pace import Pace
from tap_d365fo.transport.session import Answer, Attempt, Hold, ODataSession, Request, Wait

PATH = "/data/CustomersV3"
ROWS = reply_json({"value": [{"CustomerAccount": "US-001"}]})
QUERY = "?cross-company=true&$filter=dataAreaId%20eq%20'usmf'"


def read(answer: Answer) -> dict:
    try:
        return json.loads(answer.body)
    except ValueError as exc:
        raise BrokenAnswerError("the page is not JSON") from exc


def send(session: ODataSession, url: str = "", *, reader=read, **kwargs):
    target = url or f"{session._config.environment_url}{PATH}"
    return session.send(
        lambda: Request("GET", target, what="reading CustomersV3", entity_set="CustomersV3"), reader, **kwargs
    )


def fails(session: ODataSession, kind: type[D365FOError], **kwargs) -> D365FOError:
    with pytest.raises(kind) as caught:
        send(session, **kwargs)
    assert type(caught.value) is kind
    return caught.value


# -- one request ------------------------------------------------------------------------------------------


def test_a_request_says_who_asks_and_what_for(session, fno):
    fno.script(PATH, ROWS)

    assert send(session()) == {"value": [{"CustomerAccount": "US-001"}]}

    asked = fno.to(PATH)[0]
    assert asked.method == "GET"
    assert asked.headers["authorization"] == f"Bearer {token_text(1)}"
    assert asked.headers["odata-version"] == asked.headers["odata-maxversion"] == "4.0"
    assert asked.headers["accept"] == "application/json"
    assert asked.headers["accept-encoding"] == "gzip, deflate"
    assert asked.headers["user-agent"].startswith("tap-d365fo/")
    assert asked.headers["x-ms-client-session-id"]


def test_each_attempt_has_an_id_of_its_own_and_what_is_asked_is_made_anew(session, fno):
    fno.script(PATH, Reply(503, b""), Reply(503, b""), ROWS)
    made = session()
    sizes = iter((100, 50, 25))

    def prepare() -> Request:
        headers = {"Prefer": f"odata.maxpagesize={next(sizes)}", "Accept": "text/plain"}
        return Request("GET", f"{fno.url}{PATH}", headers=headers)

    made.send(prepare, read)

    asked = fno.to(PATH)
    assert len({each.headers["x-ms-client-request-id"] for each in asked}) == 3
    assert len({each.headers["x-ms-client-session-id"] for each in asked}) == 1
    assert [each.headers["prefer"] for each in asked] == [
        f"odata.maxpagesize={size}" for size in (100, 50, 25)
    ]
    assert asked[0].headers["accept"] == "text/plain"


def test_an_answer_carries_what_support_asks_for(session, fno):
    fno.script(
        PATH, dataclasses.replace(ROWS, headers={"ms-dyn-aid": "act-1", "Content-Type": "application/json"})
    )

    answer = send(session(), reader=lambda each: each)

    asked = fno.to(PATH)[0]
    assert answer.ids == {
        "x-ms-client-request-id": asked.headers["x-ms-client-request-id"],
        "ms-dyn-aid": "act-1",
    }
    assert (answer.status, answer.url, answer.bytes_on_wire) == (200, f"{fno.url}{PATH}", len(ROWS.body))
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("chunked", [False, True])
def test_compressed_and_chunked_bodies_arrive_whole_and_are_counted_as_they_came(session, fno, chunked):
    big = {"value": [{"Name": f"Customer {number}"} for number in range(30_000)]}
    fno.script(PATH, reply_json(big, is_gzip=True, is_chunked=chunked), reply_json(big, is_chunked=chunked))
    made = session()

    compressed = send(made, reader=lambda each: each)
    plain = send(made, reader=lambda each: each)

    assert json.loads(compressed.body) == json.loads(plain.body) == big
    assert compressed.bytes_on_wire < len(gzip.compress(compressed.body)) + 100 < plain.bytes_on_wire
    assert plain.bytes_on_wire == len(plain.body)
    assert made.traffic.requests == 2
    assert made.traffic.bytes_on_wire == compressed.bytes_on_wire + plain.bytes_on_wire


def test_a_body_is_posted(session, fno):
    fno.script(PATH, ROWS)
    made = session()

    made.send(lambda: Request("POST", f"{fno.url}{PATH}", body=b'{"a":1}'), read)

    assert (fno.to(PATH)[0].method, fno.to(PATH)[0].body) == ("POST", b'{"a":1}')


def test_connections_are_kept_alive(session, fno):
    fno.script(PATH, ROWS, reply_error(503, "x"), reply_html(502), ROWS)
    made = session()

    for _ in range(5):
        send(made)

    assert len(fno.received) == 7
    assert fno.connections == 1


def test_the_servers_clock_is_that_of_its_first_answer(session, fno):
    later = dataclasses.replace(ROWS, headers={"Date": "Thu, 15 Jan 2026 13:00:00 GMT"})
    fno.script(PATH, ROWS, later)
    made = session()
    assert made.server_time is None

    send(made)
    send(made)

    assert made.server_time == NOON


def test_cookies_are_not_sent_back_so_that_calls_spread_over_servers(session, fno):
    fno.script(PATH, dataclasses.replace(ROWS, headers={"Set-Cookie": "ARRAffinity=abc; Path=/; Secure"}))
    made = session()

    send(made)
    send(made)

    assert all("cookie" not in each.headers for each in fno.received)


def test_an_observer_sees_attempts_holds_and_waits(session, fno):
    fno.script(PATH, reply_error(503, headers={"Retry-After": "9"}), Reply(is_reset=True), ROWS)
    seen: list = []
    made = session()
    made.on_event = seen.append

    send(made)

    assert [type(each) for each in seen] == [Attempt, Hold, Wait, Attempt, Wait, Attempt]
    assert [each.status for each in seen if isinstance(each, Attempt)] == [503, 0, 200]
    assert seen[1] == Hold("CustomersV3", made.pace.waited_seconds)
    assert made.pace.waited_seconds == seen[2].seconds == 9
    assert "F&O answered 503" in seen[2].reason
    assert {each.what for each in seen if not isinstance(each, Hold)} == {"reading CustomersV3"}
    assert {each.entity_set for each in seen if isinstance(each, Attempt)} == {"CustomersV3"}
    assert seen[5].bytes_on_wire == len(ROWS.body)


# -- where requests may go --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        "https://evil.example/data/CustomersV3",
        "http://{host}/data/CustomersV3",
        "https://{host}1/data/CustomersV3",
        "https://127.0.0.1/data/CustomersV3",
        "https://evil.example\\@{host}/data/CustomersV3",
        "https://{host}\\@evil.example/data/CustomersV3",
        "https://evil.example#@{host}/data",
        "https://evil.example?@{host}/data",
        "https://user:password@{host}/data/CustomersV3",
        "https://{host}@evil.example/data/CustomersV3",
        "//evil.example/data",
        "/data/CustomersV3",
        "https://[evil/data",
        "https://{host}:port/data",
        "javascript:alert(1)",
        "",
        "https://{host}.evil.example/data",
    ],
)
def test_a_request_to_another_origin_is_refused_before_anything_is_sent(session, fno, entra, url):
    made = session()
    target = url.replace("{host}", f"127.0.0.1:{fno.port}")

    with pytest.raises(PagingError, match="leads away from the environment"):
        made.send(lambda: Request("GET", target), read)

    assert fno.received == []
    assert entra.received == []


def test_the_same_origin_in_other_letters_is_the_same(session, fno, config):
    fno.script(PATH, ROWS)

    assert send(session(), fno.url.replace("https", "HTTPS") + PATH)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed_and_in_the_end_a_refusal(session, fno, new_server, status):
    elsewhere = new_server()
    fno.script(PATH, reply_html(status, Location=f"{elsewhere.url}/login"))

    error = fails(session(), AccessDeniedError)

    assert elsewhere.received == []
    assert len(fno.received) == 4
    assert error.remedy == remedies.for_refusal("redirect")
    assert error.status == status


def test_a_redirect_that_passes_is_weather(session, fno):
    fno.script(PATH, reply_html(302), reply_html(302), ROWS)

    assert send(session())


def test_a_netrc_does_not_replace_the_token(session, fno, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    fno.script(PATH, ROWS)

    send(session())

    assert fno.to(PATH)[0].headers["authorization"] == f"Bearer {token_text(1)}"


def test_a_proxy_of_the_environment_is_obeyed_unless_excepted(session, fno, monkeypatch, new_server):
    gone = new_server()
    gone.close()
    fno.script(PATH, ROWS)
    made = session(retry_budget_seconds=0)
    send(made)
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{gone.port}")

    error = fails(made, TransportError)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    assert "The proxy did not let the call through." in error.message
    assert send(made)


def test_a_proxy_is_trusted_as_servers_are(session, monkeypatch, new_server):
    made, proxy = session(retry_budget_seconds=0), new_server()
    made.authenticator.token()
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)

    error = fails(made, TransportError)

    assert "The proxy did not let the call through." in error.message
    assert proxy.connections == 1


def test_trusted_certificates_are_read_once_for_all_connections(session, fno, monkeypatch):
    reads = []
    monkeypatch.setattr(http, "create_urllib3_context", lambda: reads.append(1) or create_urllib3_context())
    made = session(max_parallel_requests=4)
    together = threading.Barrier(4)
    fno.script(PATH, dataclasses.replace(ROWS, before=lambda: together.wait(10)))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(send, [made] * 4))

    assert (fno.connections, len(reads)) == (4, 1)


def test_a_certificate_that_is_not_trusted_is_refused(session, fno, monkeypatch, certificate, entra):
    import certifi

    fno.script(PATH, ROWS)
    made = session(retry_budget_seconds=0)
    made.authenticator.token()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())

    error = fails(made, TransportError)

    assert "The server's certificate is not trusted." in error.message
    assert fno.received == []


def test_a_ca_bundle_that_is_not_there_is_said_at_once(session, fno, monkeypatch, clock):
    made = session()
    made.authenticator.token()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")

    assert "is not there" in fails(made, TransportError).message
    assert clock.waits == []


# -- weather that is waited out ---------------------------------------------------------------------------

WEATHER = {
    "429": reply_error(429),
    "429 with a wait": reply_error(429, headers={"Retry-After": "7"}),
    "503 as HTML": reply_html(503),
    "503 with a wait": reply_html(503, **{"Retry-After": "7"}),
    "408": Reply(408, b""),
    "502": reply_html(502),
    "504": reply_html(504),
    "520": reply_html(520),
    "500 that says deadlock": reply_error(500, "Transaction was deadlocked."),
    "500 that says nothing": Reply(500, b""),
    "500 with another text": reply_error(500, "Infolog: something else"),
    "reset": Reply(is_reset=True),
    "cut off, with a length": dataclasses.replace(ROWS, sent=5),
    "cut off, chunked": dataclasses.replace(ROWS, sent=5, is_chunked=True),
    "cut off, compressed": dataclasses.replace(ROWS, sent=20, is_gzip=True),
    "cut off, compressed and chunked": dataclasses.replace(ROWS, sent=20, is_gzip=True, is_chunked=True),
    "cut off before the body": dataclasses.replace(ROWS, sent=0),
    "cut off, without a length": dataclasses.replace(ROWS, sent=5, has_length=False),
    "not compressed as said": Reply(200, ROWS.body, {"Content-Encoding": "gzip"}),
    "HTML in a 200": reply_html(200),
    "broken JSON": Reply(200, b'{"value": [{]}'),
    "empty body": Reply(200, b""),
}


CUT_OFF = [name for name in WEATHER if name.startswith("cut off") and "without a length" not in name]


@pytest.mark.parametrize("name", WEATHER)
def test_weather_is_waited_out_and_the_page_is_read_again(session, fno, clock, name):
    fno.script(PATH, WEATHER[name], WEATHER[name], ROWS)
    slow: list[None] = []

    rows = send(session(), on_slow=lambda: slow.append(None))

    assert rows == json.loads(ROWS.body)
    assert clock.waits == ([7.0, 7.0] if "with a wait" in name else [1.0, 2.0])
    assert len(slow) == (2 if name in ("408", "502", "504") else 0)


def test_a_body_that_urllib3_calls_whole_is_whole(session, fno):
    """The cut in each of the cut-off answers is noticed by the transport, not only by the reader of JSON."""
    for name in CUT_OFF:
        fno.script(PATH, WEATHER[name])
        error = fails(session(retry_budget_seconds=0), TransportError, reader=lambda each: each)
        assert "The connection was cut off." in error.message, name


def test_a_time_out_asks_for_less(session, fno, clock):
    let_go = threading.Event()
    fno.script(PATH, Reply(before=lambda: let_go.wait(10)), ROWS)
    slow: list[None] = []
    made = session()
    made.authenticator.token()
    clock.socket_seconds = 0.2

    rows = send(made, on_slow=lambda: slow.append(None))
    let_go.set()

    assert rows == json.loads(ROWS.body)
    assert len(slow) == 1


def test_a_time_out_that_lasts_is_a_slow_answer(session, fno, clock):
    let_go = threading.Event()
    fno.script(PATH, Reply(before=lambda: let_go.wait(10)))
    made = session(retry_budget_seconds=0)
    made.authenticator.token()
    clock.socket_seconds = 0.2

    error = fails(made, SlowAnswerError)
    let_go.set()

    assert "No answer came in time." in error.message
    assert error.ids["x-ms-client-request-id"]


def test_an_answer_that_keeps_dripping_in_is_given_up_as_slow(session, fno, clock):
    dripping = dataclasses.replace(ROWS, during=lambda: clock.pass_time(601))
    fno.script(PATH, dripping, ROWS)
    slow: list[None] = []

    assert send(session(), on_slow=lambda: slow.append(None))
    assert len(slow) == 1


def test_a_request_may_have_a_time_out_of_its_own(session, fno, clock):
    fno.script(PATH, dataclasses.replace(ROWS, during=lambda: clock.pass_time(601)))

    assert send(session(), timeout=900)


def test_an_answer_beyond_all_measure_is_none(session, fno, monkeypatch):
    monkeypatch.setattr(body, "LARGEST_BODY", 1000)
    fno.script(PATH, reply_json("x" * 100_000, is_gzip=True))

    error = fails(session(retry_budget_seconds=0), TransportError)

    assert "larger than 1000 bytes" in error.message


def test_a_host_that_is_gone_is_waited_for_within_the_budget(session, fno, clock):
    made = session(retry_budget_seconds=100)
    made.authenticator.token()
    fno.close()

    error = fails(made, TransportError)

    assert "The connection was refused." in error.message
    assert "Given up after" in error.message
    assert "retry_budget_seconds is 100" in error.message
    assert 40 <= sum(clock.waits) <= 100


def test_the_transient_text_of_a_500_is_waited_out_however_often_it_repeats(session, fno):
    fno.script(PATH, *[reply_error(500, "Cannot open the SQL connection")] * 10, ROWS)

    assert send(session())


# -- throttling -------------------------------------------------------------------------------------------


def test_a_wait_is_logged_with_its_reason_and_its_end(session, fno, caplog):
    caplog.set_level(logging.INFO, "tap_d365fo")
    fno.script(
        PATH, reply_error(429, "Retry after 30", headers={"Retry-After": "30", "ms-dyn-aid": "act-9"}), ROWS
    )

    send(session())

    lines = [each.message for each in caplog.records if each.name == "tap_d365fo"]
    assert lines[0].startswith("Waiting 30 s: Reading CustomersV3: F&O answered 429: Retry after 30")
    assert "ms-dyn-aid act-9" in lines[0]
    assert lines[1] == "Waited 30 s; reading CustomersV3 again."


def test_a_short_wait_is_not_worth_a_line(session, fno, caplog):
    caplog.set_level(logging.INFO, "tap_d365fo")
    fno.script(PATH, reply_error(429, headers={"Retry-After": "2"}), ROWS)

    send(session())

    assert [each for each in caplog.records if each.name == "tap_d365fo"] == []


@pytest.mark.parametrize(
    "value", ["60", "Thu, 15 Jan 2026 12:01:00 GMT"], ids=["seconds", "a date by the server's clock"]
)
def test_no_request_of_any_thread_starts_before_a_retry_after_has_passed(session, fno, clock, value):
    made = session(max_parallel_requests=4)
    made.authenticator.token()
    held, in_flight = threading.Event(), threading.Barrier(4)
    first = threading.Lock()
    hold = made.pace.hold

    def hold_then_tell(*args, **kwargs) -> None:
        hold(*args, **kwargs)
        held.set()

    made.pace.hold = hold_then_tell

    def answer(_received) -> Reply:
        if clock.monotonic() > 1000:
            return ROWS
        in_flight.wait(10)
        if first.acquire(blocking=False):
            return reply_error(429, headers={"Retry-After": value})
        held.wait(10)
        return ROWS

    fno.script(PATH, answer)

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(lambda _: send(made), range(20)))

    arrived = sorted(each.at for each in fno.received)
    assert arrived[:4] == [1000] * 4
    assert len(arrived) == 21
    assert min(arrived[4:]) >= 1060
    assert made.pace.waited_seconds == 60


class LeisurelyPace(Pace):
    """A gate behind which the leaving thread is slow: whoever queues goes first."""

    @contextmanager
    def slot(self, *, until: float = math.inf) -> Iterator[float]:
        with super().slot(until=until) as began:
            yield began
        threading.Event().wait(0.03)


def test_the_next_in_the_queue_does_not_slip_in_when_a_throttled_request_gives_up_its_place(
    config, fno, clock
):
    made = ODataSession(config(), pace=LeisurelyPace(1, clock), clock=clock, rng=FixedRandom())
    made.authenticator.token()
    queued = threading.Semaphore(0)

    def prepare() -> Request:
        queued.release()
        return Request("GET", f"{fno.url}{PATH}")

    def busy() -> None:
        for _ in range(4):
            queued.acquire(timeout=10)

    fno.script(PATH, reply_error(429, headers={"Retry-After": "60"}, before=busy), ROWS)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: made.send(prepare, read), range(4)))
    made.close()

    assert fno.received[0].at == 1000
    assert min(each.at for each in fno.received[1:]) >= 1060


def test_a_sign_in_between_does_not_let_a_request_start_in_a_hold(session, fno, entra, clock):
    """A thread that asks Entra while another is told to wait looks at the gate again before it sends."""
    made = session()

    def token(_received) -> Reply:
        made.pace.hold(60, reason="busy", asked_at=clock.monotonic())
        return reply_token(1)

    entra.entra(token)
    fno.script(PATH, ROWS)

    send(made)

    assert fno.received[0].at >= 1060


def test_a_token_that_ran_out_in_the_queue_is_replaced_before_it_is_sent(session, fno, entra, clock):
    entra.entra(reply_token(1, lifetime=1000), reply_token(2))
    made = session()
    made.authenticator.token()
    made.pace.hold(1500, reason="busy", asked_at=clock.monotonic())
    fno.script(PATH, ROWS)

    send(made)

    assert fno.received[0].headers["authorization"] == f"Bearer {token_text(2)}"


def test_throttling_halves_parallelism_once_for_all_who_were_in_flight(session, fno, clock):
    made = session(max_parallel_requests=8)
    made.authenticator.token()
    in_flight = threading.Barrier(8)

    def answer(_received) -> Reply:
        if clock.monotonic() > 1000:
            return ROWS
        in_flight.wait(10)
        return reply_error(429, headers={"Retry-After": "10"})

    fno.script(PATH, answer)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: send(made), range(8)))

    assert made.pace.allowed == 4


def test_a_wait_beyond_the_budget_fails_at_once_and_says_so(session, fno, clock):
    fno.script(PATH, reply_error(429, headers={"Retry-After": "7200"}))

    error = fails(session(), ThrottledError)

    assert clock.waits == []
    assert error.retry_after == 7200
    assert "the next try would be in 7200 s, and retry_budget_seconds is 3600" in error.message
    assert error.remedy == str(remedies.find("answer", "throttled"))
    assert error.fault == "transient"


def test_others_who_cannot_wait_so_long_fail_at_once_too(session, fno, clock):
    fno.script(PATH, reply_error(429, "Busy hour.", headers={"Retry-After": "7200"}), ROWS)
    made = session()
    fails(made, ThrottledError)

    error = fails(made, ThrottledError)

    assert "F&O wants no request for now." in error.message
    assert "Busy hour." in error.message
    assert error.retry_after == 7200
    assert len(fno.received) == 1


@pytest.mark.parametrize("header", [{}, {"Retry-After": "0"}])
def test_throttling_that_lasts_ends_within_the_budget_with_growing_waits(session, fno, clock, header):
    fno.script(PATH, reply_error(429, headers=header))

    error = fails(session(retry_budget_seconds=600), ThrottledError)

    assert sum(clock.waits) <= 600
    assert len(fno.received) <= 16
    assert "Given up after" in error.message


def test_those_who_begin_to_ask_when_nothing_was_answered_for_a_whole_budget_do_not_wait_another(
    session, fno, clock
):
    fno.script(PATH, Reply(503, b""))
    made = session(retry_budget_seconds=600)
    fails(made, ServiceUnavailableError)
    asked, waited = len(fno.received), sum(clock.waits)

    fails(made, ServiceUnavailableError)

    assert module.FEWEST_TRIES <= len(fno.received) - asked <= 6
    assert sum(clock.waits) - waited <= 60
    fno.script(PATH, ROWS)
    send(made)
    assert made._out_since is None


# -- sign-in in mid-run -----------------------------------------------------------------------------------


def test_a_refused_token_is_renewed_and_the_page_read_again(session, fno, entra, clock):
    fno.script(PATH, Reply(401, b""), ROWS)

    assert send(session())

    assert [each.headers["authorization"][-1] for each in fno.received] == ["1", "2"]
    assert clock.waits == []


def test_many_threads_whose_token_is_refused_renew_it_once(session, fno, entra):
    made = session(max_parallel_requests=20)
    made.authenticator.token()
    together = threading.Barrier(20)

    def answer(received) -> Reply:
        if received.headers["authorization"] == f"Bearer {token_text(1)}":
            together.wait(10)
            return Reply(401, b"")
        return ROWS

    fno.script(PATH, answer)

    with ThreadPoolExecutor(20) as pool:
        results = list(pool.map(lambda _: send(made), range(20)))

    assert len(results) == 20
    assert len(entra.to(TOKEN_PATH)) == 2


def test_an_application_that_was_never_taken_is_an_access_error_with_the_setup_step(
    session, fno, entra, clock
):
    entra.entra(*(reply_token(each, aud=fno.url, oid="o", tid="t" * 36) for each in (1, 2, 3)))
    fno.script(PATH, Reply(401, b"", {"ms-dyn-aid": "act-2", "P3P": 'CP="No P3P policy defined."'}))

    error = fails(session(), AccessDeniedError)

    assert error.remedy == remedies.for_refusal("unregistered")
    assert error.message == "Reading CustomersV3: F&O answered 401 with an empty body."
    assert error.ids["ms-dyn-aid"] == "act-2"
    assert error.fault == "config"
    assert len(fno.received) == 3
    assert sum(clock.waits) < 5


@pytest.mark.parametrize(
    ("claims", "cause"),
    [
        ({"aud": "https://other.operations.dynamics.com", "oid": "o"}, "audience"),
        ({"aud": None}, "object"),
    ],
)
def test_the_claims_of_the_token_tell_why(session, fno, entra, claims, cause):
    shown = {**claims, "aud": claims["aud"] or fno.url}
    entra.entra(*(reply_token(each, **shown) for each in (1, 2, 3)))
    fno.script(PATH, Reply(401, b""))

    assert fails(session(), AccessDeniedError).remedy == remedies.for_refusal(cause)


def test_a_refusal_of_one_entity_where_others_are_read_is_a_missing_privilege(session, fno, entra):
    entra.entra(*(reply_token(each, aud=fno.url, oid="o") for each in range(1, 9)))
    fno.script("/data/Vendors", ROWS)
    fno.script(PATH, Reply(401, b""))
    made = session()
    send(made, f"{fno.url}/data/Vendors")

    assert fails(made, AccessDeniedError).remedy == remedies.for_refusal("privilege")


def test_an_application_that_is_refused_for_good_asks_entra_few_times(session, fno, entra):
    fno.script(PATH, Reply(401, b""))
    made = session()

    for _ in range(10):
        fails(made, AccessDeniedError)

    assert len(entra.to(TOKEN_PATH)) == 1 + retry.VAIN_RENEWALS["stranger"]


def test_401s_at_random_are_weather_where_the_same_address_was_read_before(session, fno, entra):
    fno.script(PATH, ROWS, *(Reply(401, b"") for _ in range(5)), ROWS)
    made = session()
    send(made)

    assert send(made)
    assert len(entra.to(TOKEN_PATH)) == 6


def test_a_401_that_voids_the_token_for_others_is_no_second_refusal_of_theirs(session, fno, entra):
    """Each 401 takes the token away from all: who asks with it meanwhile is refused again and again."""
    made, lock, void, asked = session(max_parallel_requests=8), threading.Lock(), set(), []

    def answer(received) -> Reply:
        token = received.headers["authorization"]
        with lock:
            asked.append(token)
            if len(asked) % 10 == 0:
                void.add(token)
            return Reply(401, b"") if token in void else ROWS

    fno.script(PATH, answer)

    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda _: send(made), range(40)))

    assert all(results)


def test_an_application_that_is_removed_in_mid_run_ends_soon_with_few_tokens(session, fno, entra, clock):
    entra.entra(*(reply_token(each, aud=fno.url, oid="o", tid="t" * 36) for each in range(1, 20)))
    fno.script(PATH, ROWS, Reply(401, b""))
    made = session()
    send(made)

    for _ in range(10):
        assert fails(made, AccessDeniedError).remedy == remedies.for_refusal("unregistered")

    assert len(entra.to(TOKEN_PATH)) == 1 + retry.VAIN_RENEWALS["known"]
    assert sum(clock.waits) < 60


def test_a_token_that_is_taken_elsewhere_is_not_replaced_for_one_refused_entity(session, fno, entra, clock):
    made = session()

    def refused(_received) -> Reply:
        clock.pass_time(0.1)
        with ThreadPoolExecutor(1) as pool:
            pool.submit(send, made, f"{fno.url}/data/Vendors").result(20)
        return Reply(401, b"")

    fno.script("/data/Vendors", ROWS)
    fno.script(PATH, refused)

    fails(made, AccessDeniedError)

    assert len(fno.to(PATH)) == retry.REFUSALS["new"]
    assert len(entra.to(TOKEN_PATH)) == 1


def test_a_redirect_in_mid_run_is_waited_out_within_the_budget(session, fno, entra, clock):
    fno.script(PATH, ROWS, *(reply_html(302) for _ in range(8)), ROWS)
    made = session()
    send(made)

    assert send(made)
    assert sum(clock.waits) > 60
    assert len(entra.to(TOKEN_PATH)) == 2


def test_a_refused_credential_stops_all_at_once(session, fno, entra):
    entra.entra(reply_entra_error(7000222, "invalid_client", status=401))
    fno.script(PATH, ROWS)
    made = session()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: fails(made, AuthenticationError), range(8)))

    assert len({id(each) for each in found}) == 1
    assert len(entra.to(TOKEN_PATH)) == 1
    assert fno.received == []


# -- refusals that last -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "kind", "remedy"),
    [
        (
            reply_error(400, "Could not find a property named 'X' on type 'Y'."),
            QueryRejectedError,
            "rejected",
        ),
        (reply_error(405, "No."), QueryRejectedError, "rejected"),
        (reply_error(410, "No."), QueryRejectedError, "rejected"),
        (reply_error(412, "No."), QueryRejectedError, "rejected"),
        (reply_error(501, "No."), QueryRejectedError, "rejected"),
        (reply_error(404, "Resource not found for the segment 'X'."), EntitySetNotFoundError, "missing"),
        (Reply(404, b""), EntitySetNotFoundError, "missing"),
        (reply_html(404), QueryTooLongError, "too-long"),
        (reply_html(400), QueryTooLongError, "too-long"),
        (reply_html(414), QueryTooLongError, "too-long"),
        (Reply(431, b""), QueryTooLongError, "too-long"),
    ],
)
def test_what_will_not_change_is_an_error_at_once(session, fno, clock, *, reply, kind, remedy):
    fno.script(PATH, reply)

    error = fails(session(), kind, url=f"{fno.url}{PATH}{QUERY}")

    assert error.remedy == str(remedies.find("answer", remedy))
    assert error.status == reply.status
    assert len(fno.received) == 1
    assert clock.waits == []
    if issubclass(kind, QueryRejectedError):
        assert "The query was: CustomersV3?$filter=dataAreaId eq 'usmf'" in error.message
        assert "cross-company" not in error.message


def test_a_missing_privilege_is_an_access_error_with_what_was_said(session, fno):
    fno.script(PATH, reply_error(403, "Access denied: not authorized to access this entity"))

    error = fails(session(), AccessDeniedError)

    assert "not authorized to access this entity" in error.message
    assert error.remedy == remedies.for_refusal("privilege")
    assert len(fno.received) == 1


def test_a_message_has_the_inner_text_and_neither_stack_trace_nor_control_characters(session, fno):
    fno.script(
        PATH, reply_error(400, "Bad value\r\n2026-01-15 ERROR forged line\x1b[31m\r\n   at Evil.Trace()")
    )

    shown = str(fails(session(), QueryRejectedError))

    assert "Bad value" in shown
    assert "\n" not in shown
    assert "\x1b" not in shown
    assert "Evil.Trace" not in shown
    assert "Microsoft.Dynamics.Secret" not in shown


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (b"Plain words.\n   at Some.Trace(int x)", "F&O answered 405: Plain words."),
        (b"<p>markup</p>", "F&O answered 405 with a page that is not OData's."),
        (b'{"odd": "json"}', "F&O answered 405 with a page that is not OData's."),
        (b"", "F&O answered 405 with an empty body."),
    ],
)
def test_what_is_not_an_envelope_is_shown_as_far_as_it_helps(session, fno, body, shown):
    fno.script(PATH, Reply(405, body, {"Content-Type": "text/plain"}))

    message = fails(session(), QueryRejectedError).message

    assert shown in message
    assert "Some.Trace" not in message


def test_a_500_that_repeats_identically_is_data(session, fno, clock):
    fno.script(PATH, reply_error(500, "Value 'X' in row 7 cannot be read."))

    error = fails(session(), UnreadablePageError)

    assert len(fno.received) == 3
    assert error.inner_message == "Value 'X' in row 7 cannot be read."
    assert error.remedy == str(remedies.find("answer", "unreadable"))
    assert sum(clock.waits) <= 3


def test_a_500_for_metadata_is_waited_out_while_a_server_starts(session, fno):
    path = "/data/$metadata"
    fno.script(path, *(reply_error(500, "The server starts.") for _ in range(7)), ROWS)

    assert session().send(lambda: Request("GET", f"{fno.url}{path}", what="reading metadata"), read)


def test_a_500_that_says_something_else_each_time_is_weather(session, fno):
    fno.script(PATH, *(reply_error(500, f"Infolog {number % 2}") for number in range(9)), ROWS)

    assert send(session())


def test_a_500_that_says_nothing_gets_more_patience_before_it_is_data(session, fno, clock):
    fno.script(PATH, reply_html(500))

    fails(session(), UnreadablePageError)

    assert len(fno.received) == 8
    assert sum(clock.waits) > 60


@pytest.mark.parametrize("reply", [reply_html(200), Reply(200, b"")], ids=["HTML", "nothing"])
def test_a_maintenance_page_in_a_200_is_waited_out_however_often_it_repeats(session, fno, clock, reply):
    fno.script(PATH, *[reply] * 20, ROWS)

    assert send(session())
    assert sum(clock.waits) > 600


def test_a_maintenance_page_that_stays_ends_within_the_budget(session, fno, clock):
    fno.script(PATH, reply_html(200))

    error = fails(session(retry_budget_seconds=600), BrokenAnswerError)

    assert sum(clock.waits) <= 600
    assert "retry_budget_seconds is 600" in error.message


def test_the_same_broken_bytes_are_given_up(session, fno, clock):
    fno.script(PATH, Reply(200, b'{"value": [{]}', {"ms-dyn-aid": "act-3"}))

    error = fails(session(), BrokenAnswerError)

    assert len(fno.received) == retry.IDENTICAL_BODIES
    assert sum(clock.waits) > 60
    assert error.message == "Reading CustomersV3: the page is not JSON"
    assert error.ids["ms-dyn-aid"] == "act-3"
    assert error.remedy == str(remedies.find("answer", "broken"))


def test_broken_bytes_that_differ_are_waited_out(session, fno):
    fno.script(PATH, *(Reply(200, b"{" * number) for number in range(1, 9)), ROWS)

    assert send(session())


def test_a_server_that_fails_at_everything_is_waited_for(session, fno, clock):
    fno.script("/data/LegalEntities", *[reply_error(500)] * 20, ROWS)

    session().wait_until_served(UnreadablePageError("A page cannot be read.", status=500))

    assert len(fno.to("/data/LegalEntities")) == 21
    assert sum(clock.waits) < module.OUTAGE_SECONDS


@pytest.mark.parametrize("reply", [Reply(403, b""), Reply(404, b""), reply_error(400, "x")])
def test_a_refusal_shows_that_the_server_serves(session, fno, clock, reply):
    fno.script("/data/LegalEntities", reply)

    session().wait_until_served(UnreadablePageError("A page cannot be read.", status=500))

    assert clock.waits == []


def test_a_server_that_fails_for_long_is_given_up_with_what_it_said_first(session, fno, clock):
    fno.script("/data/LegalEntities", reply_error(500))
    cause = UnreadablePageError("A page cannot be read.", status=500)

    with pytest.raises(UnreadablePageError) as caught:
        session().wait_until_served(cause)

    assert caught.value is cause
    assert sum(clock.waits) < 2 * module.OUTAGE_SECONDS


def test_an_error_of_the_reader_that_is_ours_is_not_retried(session, fno):
    fno.script(PATH, ROWS)

    def reader(_answer: Answer) -> None:
        raise PagingError("a link that repeats")

    fails(session(), PagingError, reader=reader)

    assert len(fno.received) == 1


# -- ending -----------------------------------------------------------------------------------------------


def test_stopping_ends_a_wait_and_lets_no_further_request_begin(session, fno):
    fno.script(PATH, reply_error(429, headers={"Retry-After": "600"}))
    made = session()
    made.on_event = lambda event: made.stop() if isinstance(event, Wait) else None

    fails(made, Interrupted)
    fails(made, Interrupted)

    assert len(fno.received) == 1


def test_stopping_ends_the_reading_of_a_body(session, fno):
    made = session()
    fno.script(PATH, dataclasses.replace(ROWS, during=made.stop))

    fails(made, Interrupted)


def test_stopping_ends_many_threads(session, fno):
    made = session(max_parallel_requests=2)
    made.authenticator.token()

    def answer(_received) -> Reply:
        made.stop()
        return ROWS

    fno.script(PATH, answer)

    def one(_: int) -> bool:
        try:
            send(made)
        except Interrupted:
            return False
        return True

    with ThreadPoolExecutor(12) as pool:
        finished = sum(pool.map(one, range(12)))

    assert finished <= 2


# -- nothing leaks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*WEATHER, "400", "401", "403", "404", "foreign"])
def test_neither_secret_nor_token_is_shown_by_any_failure(session, fno, caplog, name):
    caplog.set_level(logging.DEBUG)
    replies = {
        "400": reply_error(400, "x"),
        "401": Reply(401, b""),
        "403": Reply(403, b""),
        "404": Reply(404, b""),
    }
    fno.script(PATH, WEATHER.get(name) or replies.get(name) or ROWS)
    made = session(retry_budget_seconds=1)
    url = "https://evil.example/data" if name == "foreign" else ""

    with pytest.raises(D365FOError) as caught:
        send(made, url)

    shown = [str(caught.value), repr(caught.value), caplog.text, repr(made), repr(made.__dict__)]
    shown += traceback.format_exception(caught.value)
    text = "\n".join(shown)
    assert SECRET not in text
    assert token_text(1).split(".")[2] not in text
    assert token_text(2).split(".")[2] not in text


def test_every_error_that_the_transport_raises_has_a_remedy_and_is_of_the_ladder(session, fno):
    told: dict[str, str | None] = {}
    for reply in [
        *WEATHER.values(),
        Reply(400, b""),
        Reply(401, b""),
        Reply(403, b""),
        Reply(404, b""),
        reply_html(414),
    ]:
        fno.script(PATH, reply)
        with pytest.raises(D365FOError) as caught:
            send(session(retry_budget_seconds=0))
        told[type(caught.value).__name__] = caught.value.remedy

    assert all(told.values())
    assert all(issubclass(getattr(errors, name), D365FOError) for name in told)
    assert len(told) >= 8


def test_the_clock_of_the_tests_is_the_one_that_is_asked(clock):
    assert clock.now() == datetime(2026, 1, 15, 12, tzinfo=timezone.utc)
    assert TENANT.endswith("onmicrosoft.com")
