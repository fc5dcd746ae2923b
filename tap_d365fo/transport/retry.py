"""What an answer, or none, means: a table from status to verdict, and how long to wait before the next try.

Weather (throttling, gateways, connections) is waited out within the budget. What repeats identically is no
weather: a 500 with the same text is data that cannot be read, the same broken bytes will not mend.
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
    "good", "throttled", "sign-in", "slow", "transient", "server", "denied", "missing", "too-long", "rejected"
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
        502: "slow",
        503: "throttled",
        504: "slow",
    }
)
"""By status; the rest by class."""

_TRANSIENT_TEXT = re.compile(
    r"deadlock|transient|timed? ?out|timeout|sql.{0,40}connection|connection.{0,40}sql", re.IGNORECASE
)
_TOO_LONG_TEXT = re.compile(rb"404\.15|query string.{0,40}too long|request url.{0,40}too long", re.IGNORECASE)
IDENTICAL_ERRORS = 3
"""The same 500 so often in a row is data, not weather (facts section 7.2)."""
IDENTICAL_BODIES = 5
"""The same broken body so often in a row will not mend."""
SIGN_IN_REDIRECTS = 3
"""Redirects to a sign-in page that are taken for weather before they are taken for a refusal."""
_FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0


def verdict(status: int, body: bytes, content_type: str) -> Verdict:
    """Say what an answer means before its body is read as a page."""
    if status // 100 == 2:  # noqa: PLR2004
        return "good"
    if status // 100 == 3:  # noqa: PLR2004
        return "sign-in"
    is_html = "html" in content_type.lower() or body.lstrip()[:1] == b"<"
    if status in (400, 404) and is_html:
        return "too-long"
    if status == 404 and _TOO_LONG_TEXT.search(body):  # noqa: PLR2004
        return "too-long"
    known = VERDICTS.get(status)
    if known == "server" and _TRANSIENT_TEXT.search(inner_message(body)):
        return "transient"
    return known or ("transient" if status > 500 else "rejected")  # noqa: PLR2004


def inner_message(body: bytes) -> str:
    """Return the innermost message of F&O's error envelope, without stack traces; "" where there is none."""
    try:
        error: Any = json.loads(body.decode("utf-8-sig", "replace")).get("error", {})
    except (ValueError, AttributeError):
        return ""
    messages = []
    while isinstance(error, dict):
        if isinstance(error.get("message"), str) and error["message"]:
            messages.append(error["message"])
        error = error.get("innererror") or error.get("internalexception")
    return messages[-1] if messages else ""


def retry_after(header: str | None, *, server_date: str | None) -> float | None:
    """Return the seconds of a `Retry-After`, given as seconds or as an HTTP date; None where it says nothing."""
    if not header:
        return None
    text = header.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    moment = http_date(text)
    if moment is None:
        return None
    now = http_date(server_date) or datetime.now(timezone.utc)
    return max(0.0, (moment - now).total_seconds())


def http_date(text: str | None) -> datetime | None:
    """Return the moment of an HTTP date, None for anything else."""
    try:
        moment = email.utils.parsedate_to_datetime(text or "")
    except (ValueError, TypeError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long one request may be tried again, in all."""

    budget_seconds: float

    def wait(self, attempt: int, rng: random.Random) -> float:
        """Return the wait after the given failed attempt (1 for the first): growing, with jitter."""
        longest = min(_LONGEST_WAIT, _FIRST_WAIT * 2 ** min(attempt - 1, 10))
        return float(longest * (0.5 + rng.random() / 2))

    def allows(self, wait: float, *, elapsed: float) -> bool:
        """Say whether a wait still fits into the budget."""
        return elapsed + wait <= self.budget_seconds
