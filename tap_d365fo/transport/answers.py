"""Requests and answers as values, and the error that an answer (or none) comes to.

What an answer means is `retry`'s table; what a person reads about it is written here.
"""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit

import requests
import urllib3

from tap_d365fo import remedies
from tap_d365fo.errors import (
    AccessDeniedError,
    D365FOError,
    EntitySetNotFoundError,
    QueryRejectedError,
    QueryTooLongError,
    ServiceError,
    ServiceUnavailableError,
    SlowAnswerError,
    ThrottledError,
    TransportError,
    UnreadablePageError,
)
from tap_d365fo.transport import retry

if TYPE_CHECKING:
    from collections.abc import Mapping

E = TypeVar("E", bound=ServiceError)

CLIENT_REQUEST_ID = "x-ms-client-request-id"
ACTIVITY_ID = "ms-dyn-aid"
_SHOWN = 600
"""Characters of a query or of a plain text that a message repeats."""


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it is to be sent."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    what: str = "asking F&O"
    """What we are doing, for messages: `reading CustomersV3`."""
    entity_set: str = ""
    """Whose rows this is about, where it is about one entity's."""

    @property
    def doing(self) -> str:
        """What we are doing, as the beginning of a sentence."""
        return f"{self.what[:1].upper()}{self.what[1:]}"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, its body whole and decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    client_request_id: str
    activity_id: str
    seconds: float
    bytes_on_wire: int

    @property
    def ids(self) -> dict[str, str]:
        """What support asks for."""
        return {CLIENT_REQUEST_ID: self.client_request_id, ACTIVITY_ID: self.activity_id}


_ERRORS: Mapping[retry.Verdict, tuple[type[ServiceError], str]] = MappingProxyType(
    {
        "throttled": (ThrottledError, "throttled"),
        "unavailable": (ServiceUnavailableError, "unavailable"),
        "server": (ServiceUnavailableError, "unavailable"),
        "missing": (EntitySetNotFoundError, "missing"),
        "too-long": (QueryTooLongError, "too-long"),
        "rejected": (QueryRejectedError, "rejected"),
    }
)
"""Which error an answer comes to when it is not good and there is no trying again, and its remedy."""


def error_of(verdict: retry.Verdict, request: Request, answer: Answer) -> D365FOError:
    """Return the error of an answer; `denied` and `sign-in` are `refusal`'s."""
    message = _said(request, answer)
    if verdict == "slow":
        return SlowAnswerError(message, remedy=str(remedies.find("answer", "slow")), ids=answer.ids)
    kind, remedy = _ERRORS[verdict]
    if issubclass(kind, QueryRejectedError):
        message += f" The query was: {_shown(request.url)}"
    return _service_error(kind, message, str(remedies.find("answer", remedy)), answer)


def unreadable(request: Request, answer: Answer) -> UnreadablePageError:
    """Return the error of a 500 that repeats identically."""
    message = f"{_said(request, answer)} The query was: {_shown(request.url)}"
    remedy = str(remedies.find("answer", "unreadable"))
    return _service_error(UnreadablePageError, message, remedy, answer)


def refusal(request: Request, answer: Answer, cause: str) -> AccessDeniedError:
    """Return the error of a token that F&O does not take."""
    return _service_error(AccessDeniedError, _said(request, answer), remedies.for_refusal(cause), answer)


def _service_error(kind: type[E], message: str, remedy: str, answer: Answer) -> E:
    inner = retry.inner_message(answer.body)
    return kind(message, status=answer.status, inner_message=inner, remedy=remedy, ids=answer.ids)


def no_answer(request: Request, exc: Exception, client_request_id: str) -> tuple[TransportError, bool]:
    """Return why no answer came, without the words of three libraries; and whether it is for good."""
    root = remedies.root_of(exc)
    code = remedies.kind_of_no_answer(exc, root)
    remedy = remedies.find("no-answer", code)
    timeouts = (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)
    is_slow = isinstance(exc, timeouts) and not isinstance(exc, requests.ConnectTimeout)
    error = (SlowAnswerError if is_slow else TransportError)(
        f"{request.doing} brought no answer. {remedy.cause} ({_plain(root)})",
        remedy=remedy.step,
        ids={CLIENT_REQUEST_ID: client_request_id},
    )
    return error, code == "ca-file" or isinstance(exc, ValueError)  # requests' errors about malformed URLs


def _said(request: Request, answer: Answer) -> str:
    """Say what we were doing and what came back."""
    text = retry.inner_message(answer.body) or _plain_text(answer)
    if text:
        return f"{request.doing}: F&O answered {answer.status}: {text}"
    came = "a page that is not OData's" if answer.body else "an empty body"
    return f"{request.doing}: F&O answered {answer.status} with {came}."


def _plain_text(answer: Answer) -> str:
    """Return the beginning of a body that is neither JSON nor markup."""
    text = retry.without_stack_trace(answer.body[:4096].decode("utf-8", "replace"))
    return "" if text.startswith(("<", "{", "[")) else text[:_SHOWN]


def _shown(url: str) -> str:
    """Return the path and query of a URL as a person would write it, without what every query of ours has."""
    parts = urlsplit(url)
    options = [each for each in parts.query.split("&") if each and each.lower() != "cross-company=true"]
    resource = parts.path.rpartition("/")[2]
    return unquote(f"{resource}?{'&'.join(options)}" if options else resource)[:_SHOWN]


def _plain(exc: BaseException) -> str:
    if isinstance(exc, ssl.SSLError):
        return exc.reason or "TLS failure"
    text = re.sub(r"^\[Errno -?\d+\] ", "", str(exc))
    return text if text and len(text) < 200 else type(exc).__name__  # noqa: PLR2004
