"""What answers mean, how long to wait, and what of an error's body a person may see."""

from __future__ import annotations

import json
import random
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from requests.structures import CaseInsensitiveDict
from scripted import FixedRandom

from tap_d365fo.transport import retry
from tap_d365fo.transport.retry import RetryPolicy, asked_wait, http_date, inner_message, verdict

JSON = {"Content-Type": "application/json; odata.metadata=minimal"}
HTML = {"Content-Type": "text/html"}
PAGE = b"<!DOCTYPE html><html><body>404.15</body></html>"


def envelope(inner: str) -> bytes:
    return json.dumps(
        {"error": {"code": "", "message": "An error has occurred.", "innererror": {"message": inner}}}
    ).encode()


@pytest.mark.parametrize(
    ("status", "body", "headers", "means"),
    [
        (200, b"", HTML, "good"),
        (204, b"", {}, "good"),
        (301, b"", {}, "sign-in"),
        (302, PAGE, HTML, "sign-in"),
        (307, b"", {}, "sign-in"),
        (400, envelope("Could not find a property named 'X'"), JSON, "rejected"),
        (400, PAGE, HTML, "too-long"),
        (400, PAGE, {}, "too-long"),
        (400, b"<?xml version='1.0'?><error/>", {"Content-Type": "application/xml"}, "rejected"),
        (400, b"The request filtering module: query string too long", {"Content-Type": "text/plain"}, "too-long"),
        (401, b"", {}, "sign-in"),
        (403, b"", {}, "denied"),
        (403, PAGE, HTML, "denied"),
        (404, envelope("Resource not found for the segment 'X'."), JSON, "missing"),
        (404, b"", {}, "missing"),
        (404, PAGE, HTML, "too-long"),
        (404, b"HTTP Error 404.15 - Not Found", {"Content-Type": "text/plain"}, "too-long"),
        (405, b"", {}, "rejected"),
        (408, b"", {}, "slow"),
        (410, b"", {}, "rejected"),
        (412, b"", {}, "rejected"),
        (414, PAGE, HTML, "too-long"),
        (418, b"", {}, "rejected"),
        (429, b"", {}, "throttled"),
        (431, b"", {}, "too-long"),
        (500, envelope("Value 'X' in field 'Group' is not found"), JSON, "server"),
        (500, envelope("Transaction was deadlocked on lock resources"), JSON, "unavailable"),
        (500, envelope("A transient failure"), JSON, "unavailable"),
        (500, envelope("The operation timed out."), JSON, "unavailable"),
        (500, envelope("Execution Timeout Expired"), JSON, "unavailable"),
        (500, envelope("Cannot open the SQL database connection"), JSON, "unavailable"),
        (500, PAGE, HTML, "server"),
        (501, b"", {}, "rejected"),
        (502, PAGE, HTML, "slow"),
        (503, PAGE, HTML, "unavailable"),
        (503, PAGE, {**HTML, "Retry-After": "5"}, "throttled"),
        (503, PAGE, {**HTML, "Retry-After": "soon"}, "unavailable"),
        (504, b"", {}, "slow"),
        (520, b"", {}, "unavailable"),
        (100, b"", {}, "unavailable"),
        (999, b"", {}, "rejected"),
    ],
)  # fmt: skip
def test_each_status_has_a_meaning(status, body, headers, means):
    assert verdict(status, body, CaseInsensitiveDict(headers)) == means


# -- Retry-After ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "date", "seconds"),
    [
        ("60", None, 60.0),
        (" 0 ", None, 0.0),
        ("1.5", None, 1.5),
        ("Thu, 15 Jan 2026 12:01:00 GMT", "Thu, 15 Jan 2026 12:00:00 GMT", 60.0),
        ("Thu, 15 Jan 2026 11:00:00 GMT", "Thu, 15 Jan 2026 12:00:00 GMT", 0.0),
        ("Thu, 15 Jan 2026 13:01:00 +0100", "Thu, 15 Jan 2026 12:00:00 GMT", 60.0),
        ("Thursday, 15-Jan-26 12:01:00 GMT", "Thu, 15 Jan 2026 12:00:00 GMT", 60.0),
        ("-5", None, None),
        ("soon", None, None),
        ("", None, None),
        ("9" * 400, None, None),
        ("٦٠", None, None),
    ],
)
def test_a_wait_is_read_as_seconds_or_as_a_date_by_the_servers_clock(header, date, seconds):
    headers = CaseInsensitiveDict({"retry-after": header, **({"date": date} if date else {})})

    assert asked_wait(headers) == seconds


def test_a_date_without_a_servers_clock_is_read_by_ours():
    soon = datetime.now(timezone.utc).timestamp() + 100
    text = datetime.fromtimestamp(soon, timezone.utc).strftime("%a, %d %b %Y %H:%M:%S GMT")

    wait = asked_wait({"Retry-After": text})

    assert wait is not None
    assert 95 < wait < 101


def test_no_header_asks_for_nothing():
    assert asked_wait({}) is None


@given(
    st.text()
    | st.from_regex(r"[A-Z][a-z]{2}, [0-9]{1,4} [A-Z][a-z]{2} [0-9]{1,9} [0-9:]{1,12} [-+A-Z0-9]{1,9}")
)
def test_whatever_stands_in_a_date_header_is_a_moment_or_nothing(text):
    moment = http_date(text)
    wait = asked_wait({"Retry-After": text, "Date": text})

    assert moment is None or moment.tzinfo is not None
    assert wait is None or wait >= 0


# -- waits ------------------------------------------------------------------------------------------------


def test_waits_grow_to_a_minute():
    policy = RetryPolicy(3600)

    assert [policy.wait(each, FixedRandom()) for each in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]


@given(st.integers(1, 10_000), st.integers())
def test_jitter_keeps_at_least_half_of_a_wait(attempt, seed):
    policy = RetryPolicy(3600)
    longest = policy.wait(attempt, FixedRandom())

    assert longest / 2 <= policy.wait(attempt, random.Random(seed)) <= longest


@pytest.mark.parametrize(
    ("asked", "attempt", "wait"), [(60, 1, 60), (5, 9, 5), (1, 5, 1), (0, 1, 1), (0, 4, 8), (0.5, 1, 1)]
)
def test_a_server_gets_what_it_asks_for_and_next_to_nothing_grows(asked, attempt, wait):
    assert RetryPolicy(3600).wait(attempt, FixedRandom(), asked=asked) == wait


@pytest.mark.parametrize(
    ("wait", "elapsed", "allowed"), [(10, 0, True), (10, 90, True), (10, 91, False), (101, 0, False)]
)
def test_a_wait_must_fit_into_what_is_left_of_the_budget(wait, elapsed, allowed):
    assert RetryPolicy(100).allows(wait, elapsed=elapsed) is allowed


# -- what a body says -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (envelope("Value 'X' is not found."), "Value 'X' is not found."),
        (b"\xef\xbb\xbf" + envelope("With a mark."), "With a mark."),
        ({"error": {"message": "Only this."}}, "Only this."),
        (
            {
                "error": {
                    "message": "a",
                    "innererror": {"message": "b", "internalexception": {"message": "c"}},
                }
            },
            "c",
        ),
        ({"error": {"message": "a", "innererror": {"message": " ", "internalexception": {}}}}, "a"),
        ({"error": {"message": "a", "innererror": {"type": "T"}}}, "a"),
        ({"Message": "No HTTP resource was found."}, "No HTTP resource was found."),
        (
            {"Message": "An error has occurred.", "ExceptionMessage": "Real.", "StackTrace": "   at X.Y()"},
            "Real.",
        ),
        ({"error": {"message": "Bad.\r\n   at Microsoft.Dynamics.Ax(Object o)\r\n   at System.Web"}}, "Bad."),
        ({"error": {"message": "Bad.   at Microsoft.Dynamics.Ax.Run() in c:\\x.cs:line 5"}}, "Bad."),
        ({"error": {"message": "Meet at Contoso (noon)."}}, "Meet at Contoso (noon)."),
        ({"error": {"message": {"value": "odd"}}}, ""),
        ({"error": "text"}, ""),
        ({"error": None}, ""),
        ([], ""),
        (5, ""),
        (b"", ""),
        (b"<html>", ""),
        (b"\xff\xfe", ""),
        (b"[" * 100_000, ""),
        (b'{"error":' * 100_000, ""),
    ],
)
def test_the_innermost_message_is_what_a_person_reads(body, message):
    assert inner_message(body if isinstance(body, bytes) else json.dumps(body).encode()) == message


@given(st.binary() | st.recursive(st.none() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["error", "message", "innererror", "Message", "InnerException"]), inner)).map(lambda each: json.dumps(each).encode()))  # fmt: skip
def test_whatever_a_body_holds_there_is_a_verdict_and_a_text(body):
    assert isinstance(inner_message(body), str)
    for status in (400, 404, 500, 503):
        assert verdict(status, body, {}) in {*retry.VERDICTS.values(), *retry.CLASSES.values()}
