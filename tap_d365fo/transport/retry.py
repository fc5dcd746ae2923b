"""What an answer, or none, means: a table from status to verdict, and how long to wait before the next try.

Weather (throttling, gateways, connections) is waited out within the budget. What repeats identically is no
weather: a 500 with the same text is data that cannot be read, the same broken JSON will not mend. A page
that is not JSON at all comes from someone else (a maintenance page, a proxy) and goes as it came.
"""

from __future__ import annotations

import email.utils
import json
import random
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Verdict = Literal[
    "good",
    "throttled",
    "unavailable",
    "sign-in",
    "slow",
    "server",
    "denied",
    "missing",
    "too-long",
    "rejected",
]

VERDICTS: Mapping[int, Verdict] = MappingProxyType(
    {
        401: "sign-in",
        403: "denied",
        404: "missing",
        408: "slow",
        414: "too-long",
        429: "throttled",
        431: "too-long",
        500: "server",
        501: "rejected",  # OData's word for a query option that a service does not have
        502: "slow",
        503: "unavailable",
        504: "slow",
    }
)
"""By status; the rest by class."""
CLASSES: Mapping[int, Verdict] = MappingProxyType(
    {1: "unavailable", 2: "good", 3: "sign-in", 4: "rejected", 5: "unavailable"}
)
"""By the first digit, for statuses that `VERDICTS` does not name; redirects lead to sign-in pages."""

_TRANSIENT_TEXT = re.compile(
    r"deadlock|transient|timed? ?out|timeout|sql.{0,40}connection|connection.{0,40}sql", re.IGNORECASE
)
_TOO_LONG_TEXT = re.compile(rb"404\.15|query string.{0,40}too long|request url.{0,40}too long", re.IGNORECASE)
_HTML = re.compile(rb"\s*<(!doctype html|html|head|body|title|h[1-6])\b", re.IGNORECASE)
_STACK_TRACE = re.compile(r"(\s*\r?\n|\s{2,})\s*at [\w.<>`+\[\]]+[(.].*", re.DOTALL)
_MESSAGES = ("message", "Message", "MessageDetail", "ExceptionMessage")
_NESTED = ("innererror", "internalexception", "InnerException")

IDENTICAL_ERRORS = 3
"""The same 500 so often in a row is data, not weather (facts section 7.2)."""
IDENTICAL_BLANK_ERRORS = 8
"""A 500 that says nothing, or that comes for metadata, may be a restart: more patience, some two minutes of it."""
IDENTICAL_BODIES = 8
"""The same broken JSON so often in a row, over some two minutes, will not mend."""
SIGN_IN_REDIRECTS = 3
"""Redirects to a sign-in page that are taken for weather before they are taken for a refusal."""
REFUSALS: Mapping[str, int] = MappingProxyType({"stranger": 3, "new": 4, "known": 6})
"""401s of one request, each on a token that was the present one, that are a refusal for good.

By whom F&O answered well before: not this application, not for this address, or for both. It may lose a
token that it took a moment ago; that it takes none from the first is a set-up that lacks a step.
"""
VAIN_RENEWALS: Mapping[str, int] = MappingProxyType({"stranger": 2, "new": 5, "known": 5})
"""New tokens in a row, for all requests together, that may bring no good answer at all."""
_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
_LARGEST_ERROR = 1024 * 1024
"""What is looked at of an error's body."""


def verdict(status: int, body: bytes, headers: Mapping[str, str]) -> Verdict:
    """Say what an answer means before its body is read as a page."""
    if status in (400, 404) and _is_too_long(body, headers):
        return "too-long"
    if status == 500 and _TRANSIENT_TEXT.search(inner_message(body)):  # noqa: PLR2004
        return "unavailable"
    if status == 503 and asked_wait(headers) is not None:  # noqa: PLR2004
        return "throttled"
    return VERDICTS.get(status) or CLASSES.get(status // 100, "rejected")


def _is_too_long(body: bytes, headers: Mapping[str, str]) -> bool:
    """Tell a gateway that finds the URL too long from F&O, which answers in JSON."""
    is_html = "html" in headers.get("Content-Type", "").lower() or bool(_HTML.match(body))
    return is_html or bool(_TOO_LONG_TEXT.search(body[:_LARGEST_ERROR]))


def inner_message(body: bytes) -> str:
    """Return the innermost message of F&O's error envelope, without stack traces; "" where there is none."""
    try:
        document: Any = json.loads(body[:_LARGEST_ERROR].decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return ""
    error = document.get("error", document) if isinstance(document, dict) else None
    messages = []
    while isinstance(error, dict):
        found = (error.get(name) for name in _MESSAGES)
        messages += [text for text in found if isinstance(text, str) and text.strip()]
        error = next((error[name] for name in _NESTED if error.get(name)), None)
    return without_stack_trace(messages[-1]) if messages else ""


def is_json_cut(body: bytes) -> bool:
    """Tell F&O's own page that is broken from another's page: HTML, a proxy's word, nothing at all."""
    return body.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")


def without_stack_trace(text: str) -> str:
    """Return a text up to where a stack trace begins."""
    return _STACK_TRACE.sub("", text).strip()


def asked_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that `Retry-After` asks for, given as seconds or as an HTTP date; None without it."""
    text = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]{1,9}(\.[0-9]+)?", text):
        return float(text)
    moment = http_date(text)
    if moment is None:
        return None
    now = http_date(headers.get("Date")) or datetime.now(
        timezone.utc
    )  # whose clocks differ, the server's counts
    return max(0.0, (moment - now).total_seconds())


def http_date(text: str | None) -> datetime | None:
    """Return the moment of an HTTP date, None for anything else."""
    try:
        moment = email.utils.parsedate_to_datetime(text or "")
        return (moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long one request may be tried again, in all."""

    budget_seconds: float

    def wait(self, attempt: int, rng: random.Random, *, asked: float | None = None) -> float:
        """Return the wait after the given failed attempt (1 for the first).

        What the server asked for is what it gets; without that, or where it asked for next to nothing,
        waits grow, with jitter.
        """
        if asked is not None and asked >= _FIRST_WAIT:
            return asked
        longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(attempt - 1, 10))
        return max(asked or 0.0, float(longest * (0.5 + rng.random() / 2)))

    def allows(self, wait: float, *, elapsed: float) -> bool:
        """Say whether a wait still fits into the budget."""
        return elapsed + wait <= self.budget_seconds

    def within(self, seconds: float) -> RetryPolicy:
        """Return the policy for something that is worth less time."""
        return RetryPolicy(min(seconds, self.budget_seconds))
