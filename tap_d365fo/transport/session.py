"""Sends one request until it has an answer, or an error worth raising.

Token, pace, send, judge, wait, again: all of it here and nowhere else. A request goes to the configured
origin or it does not go; redirects are not followed; the whole body is read before anyone looks at it.
"""

from __future__ import annotations

import hashlib
import logging
import random
import ssl
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import requests
import urllib3

from tap_d365fo import __version__, remedies
from tap_d365fo.errors import (
    AccessDeniedError,
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
from tap_d365fo.transport import retry
from tap_d365fo.transport.auth import BearerToken, EntraAuthenticator
from tap_d365fo.transport.clock import Clock, SystemClock
from tap_d365fo.transport.http import new_session
from tap_d365fo.transport.pace import HeldTooLong, Pace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from tap_d365fo.config import Config

logger = logging.getLogger("tap_d365fo")

T = TypeVar("T")

CONNECT_SECONDS = 30.0
READ_BYTES = 1024 * 1024
LARGEST_BODY = 1024 * 1024 * 1024
"""A page aims at 16 MiB and metadata has about 50: a body beyond this is no answer."""
WAIT_WORTH_A_WORD = 5.0
FEWEST_TRIES = 3
"""Tries that a request gets even where others have found for a whole budget that nothing answers."""
MOST_VAIN_RENEWALS = 2
"""Fresh tokens that may bring nothing before no more are asked for: F&O refuses the application."""
CLIENT_REQUEST_ID = "x-ms-client-request-id"
ACTIVITY_ID = "ms-dyn-aid"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it is to be sent."""

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    what: str = "asking F&O"
    """What we are doing, for messages: `reading CustomersV3`."""


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


@dataclass(slots=True)
class Traffic:
    """What a session did so far."""

    requests: int = 0
    bytes_on_wire: int = 0


@dataclass(slots=True)
class _Tries:
    """What was tried for one request so far."""

    began: float
    attempt: int = 0
    renewed: bool = False
    redirects: int = 0
    token: str = field(default="", repr=False)
    last_print: str = ""
    identical: int = 0

    def same(self, text: str) -> int:
        """Count how often in a row this came."""
        self.identical = self.identical + 1 if text == self.last_print else 1
        self.last_print = text
        return self.identical


class _Again(Exception):
    """Try again after a wait, unless that is beyond the budget: then `cause` is raised."""

    def __init__(
        self, cause: D365FOError, *, wait: float | None = None, holds_all: bool = False, at_once: bool = False
    ) -> None:
        self.cause = cause
        self.wait = wait
        self.holds_all = holds_all
        self.at_once = at_once
        super().__init__(str(cause))


class ODataSession:
    """Sends requests to one environment; safe to use from many threads."""

    def __init__(
        self,
        config: Config,
        *,
        authenticator: EntraAuthenticator | None = None,
        pace: Pace | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.rng = rng or random.Random()
        self.pace = pace or Pace(config.max_parallel_requests, self.clock)
        self.authenticator = authenticator or EntraAuthenticator(
            config, clock=self.clock, pace=self.pace, rng=self.rng
        )
        self.traffic = Traffic()
        self.server_time: datetime | None = None
        """The server's clock as its first answer showed it."""
        self._config = config
        self._policy = retry.RetryPolicy(config.retry_budget_seconds)
        self._origin = _origin(config.environment_url)
        self._http = new_session(pool=config.max_parallel_requests)
        self._session_id = str(uuid4())
        self._lock = threading.Lock()
        self._vain_renewals = 0
        """How many fresh tokens in a row brought nothing."""
        self._out_since: float | None = None
        """When answers began to stay away; None while they come."""

    def send(
        self,
        prepare: Callable[[], Request],
        read: Callable[[Answer], T],
        *,
        on_slow: Callable[[], None] | None = None,
        timeout: float | None = None,
    ) -> T:
        """Send until `read` has made something of an answer.

        `prepare` is called for each attempt. `on_slow` is called after a time-out or a gateway's 502/504,
        so that less can be asked for. Raises what the error ladder says, within the retry budget.
        """
        tries = _Tries(self.clock.monotonic())
        while True:
            request = prepare()
            self._refuse_foreign(request.url)
            tries.attempt += 1
            began = self.clock.monotonic()
            try:
                answer = self._once(request, tries, timeout)
                self._judge(request, answer, tries)
                result = self._read(request, answer, read, tries)
                self._out_since = None
                return result
            except _Again as again:
                if self._out_since is None and not again.at_once:
                    self._out_since = began
                if isinstance(again.cause, SlowAnswerError) and on_slow is not None:
                    on_slow()
                self._wait(again, tries, began)

    def _once(self, request: Request, tries: _Tries, timeout: float | None) -> Answer:
        """Send once. Raises _Again for everything that has no answer."""
        client_request_id = str(uuid4())
        headers = {
            "Accept": "application/json",
            "OData-Version": "4.0",
            "OData-MaxVersion": "4.0",
            "User-Agent": f"tap-d365fo/{__version__}",
            CLIENT_REQUEST_ID: client_request_id,
            "x-ms-client-session-id": self._session_id,
            **request.headers,
        }
        try:
            with self.pace.slot(until=tries.began + self._policy.budget_seconds):
                tries.token = self.authenticator.token()
                return self._exchange(request, headers, tries.token, timeout)
        except HeldTooLong as held:
            raise self._held_too_long(request, held.seconds, tries) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
            raise _Again(_no_answer(request, exc, client_request_id)) from None

    def _exchange(
        self, request: Request, headers: Mapping[str, str], token: str, timeout: float | None
    ) -> Answer:
        began = self.clock.monotonic()
        seconds = timeout or self._config.request_timeout_seconds
        response = self._http.request(
            request.method,
            request.url,
            headers=headers,
            auth=BearerToken(token),
            data=request.body,
            timeout=(self.clock.timeout(min(CONNECT_SECONDS, seconds)), self.clock.timeout(seconds)),
            allow_redirects=False,
            stream=True,
        )
        with response:
            body = self._body(response, deadline=began + 2 * seconds)
        answer = Answer(
            status=response.status_code,
            headers=response.headers,
            body=body,
            url=request.url,
            client_request_id=headers[CLIENT_REQUEST_ID],
            activity_id=response.headers.get(ACTIVITY_ID, ""),
            seconds=self.clock.monotonic() - began,
            bytes_on_wire=response.raw.tell(),
        )
        self._account(answer)
        return answer

    def _body(self, response: requests.Response, *, deadline: float) -> bytes:
        """Read a body whole; urllib3 tells a body that was cut off."""
        parts = []
        size = 0
        while part := response.raw.read(READ_BYTES, decode_content=True):
            parts.append(part)
            size += len(part)
            if size > LARGEST_BODY:
                raise requests.ConnectionError(f"the answer is larger than {LARGEST_BODY} bytes")
            if self.clock.monotonic() > deadline:
                raise requests.Timeout("the answer kept dripping in")
            if self.pace.stopped:
                raise Interrupted("Stopped while reading an answer.")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _account(self, answer: Answer) -> None:
        with self._lock:
            self.traffic.requests += 1
            self.traffic.bytes_on_wire += answer.bytes_on_wire
            if self.server_time is None:
                self.server_time = retry.http_date(answer.headers.get("Date"))

    # -- judging ----------------------------------------------------------------------------------------

    def _judge(self, request: Request, answer: Answer, tries: _Tries) -> None:
        """Return for a success; raise _Again for weather, and the right error for anything else."""
        verdict = retry.verdict(answer.status, answer.body, answer.headers.get("Content-Type", ""))
        if verdict == "good":
            self._vain_renewals = 0
            self.pace.succeeded()
            return
        judge: Callable[[Request, Answer, _Tries], None] = getattr(
            self, f"_judge_{verdict.replace('-', '_')}"
        )
        judge(request, answer, tries)

    def _judge_throttled(self, request: Request, answer: Answer, _tries: _Tries) -> None:
        wait = retry.retry_after(answer.headers.get("Retry-After"), server_date=answer.headers.get("Date"))
        if answer.status == 429 or wait is not None:  # noqa: PLR2004
            error = ThrottledError(
                _said(request, answer), status=answer.status, remedy=remedies.THROTTLED, ids=answer.ids
            )
            error.retry_after = wait
            raise _Again(error, wait=wait, holds_all=True)
        raise _Again(self._unavailable(request, answer))

    def _judge_sign_in(self, request: Request, answer: Answer, tries: _Tries) -> None:
        """A 401 or a redirect to a sign-in page: a new token once, then it is a refusal."""
        redirected = answer.status // 100 == 3  # noqa: PLR2004
        denied = AccessDeniedError(
            _said(request, answer),
            status=answer.status,
            remedy=remedies.for_refusal(answer.status, self.authenticator.claims(), self._config),
            ids=answer.ids,
        )
        if self.authenticator.has_replaced(tries.token):
            raise _Again(denied, at_once=True)  # refused for another request too, and renewed for that one
        if not tries.renewed and self._vain_renewals < MOST_VAIN_RENEWALS:
            tries.renewed = True
            if self.authenticator.renew(tries.token):
                self._vain_renewals += 1
            raise _Again(denied, at_once=True)
        tries.redirects += 1
        if redirected and tries.redirects < retry.SIGN_IN_REDIRECTS:
            raise _Again(denied)
        raise denied

    def _judge_slow(self, request: Request, answer: Answer, _tries: _Tries) -> None:
        raise _Again(SlowAnswerError(_said(request, answer), remedy=remedies.SLOW, ids=answer.ids))

    def _judge_transient(self, request: Request, answer: Answer, _tries: _Tries) -> None:
        raise _Again(self._unavailable(request, answer))

    def _judge_server(self, request: Request, answer: Answer, tries: _Tries) -> None:
        inner = retry.inner_message(answer.body)
        if tries.same(f"500 {inner}") >= retry.IDENTICAL_ERRORS:
            raise UnreadablePageError(
                _said(request, answer),
                status=answer.status,
                inner_message=inner,
                remedy=remedies.UNREADABLE,
                ids=answer.ids,
            )
        raise _Again(self._unavailable(request, answer))

    def _judge_denied(self, request: Request, answer: Answer, _tries: _Tries) -> None:
        raise AccessDeniedError(
            _said(request, answer),
            status=answer.status,
            inner_message=retry.inner_message(answer.body),
            remedy=remedies.for_refusal(answer.status, self.authenticator.claims(), self._config),
            ids=answer.ids,
        )

    def _judge_missing(self, request: Request, answer: Answer, _tries: _Tries) -> None:
        raise EntitySetNotFoundError(
            _said(request, answer), status=answer.status, remedy=remedies.NO_ENTITY_SET, ids=answer.ids
        )

    def _judge_too_long(self, request: Request, answer: Answer, _tries: _Tries) -> None:
        raise QueryTooLongError(
            _said(request, answer), status=answer.status, remedy=remedies.TOO_LONG, ids=answer.ids
        )

    def _judge_rejected(self, request: Request, answer: Answer, _tries: _Tries) -> None:
        raise QueryRejectedError(
            f"{_said(request, answer)} The query was {_shown(request.url)}",
            status=answer.status,
            inner_message=retry.inner_message(answer.body),
            remedy=remedies.REJECTED,
            ids=answer.ids,
        )

    def _unavailable(self, request: Request, answer: Answer) -> ServiceUnavailableError:
        return ServiceUnavailableError(
            _said(request, answer),
            status=answer.status,
            inner_message=retry.inner_message(answer.body),
            remedy=remedies.UNAVAILABLE,
            ids=answer.ids,
        )

    def _read(self, request: Request, answer: Answer, read: Callable[[Answer], T], tries: _Tries) -> T:
        try:
            return read(answer)
        except BrokenAnswerError as exc:
            error = BrokenAnswerError(
                f"{_doing(request)}: {exc.message}", remedy=remedies.BROKEN, ids=answer.ids
            )
            if tries.same(hashlib.sha256(answer.body).hexdigest()) >= retry.IDENTICAL_BODIES:
                raise error from exc
            raise _Again(error) from None

    # -- waiting ----------------------------------------------------------------------------------------

    def _wait(self, again: _Again, tries: _Tries, began: float) -> None:
        """Wait as told, or raise the cause where that is beyond the budget."""
        if again.at_once:
            return
        wait = self._policy.wait(tries.attempt, self.rng) if again.wait is None else again.wait
        if again.holds_all:
            self.pace.hold(wait, reason=again.cause.message, asked_at=began)
        elapsed = self.clock.monotonic() - tries.began
        # Where nothing was answered for as long as that, those that ask only now have waited with the others.
        out = (
            self.clock.monotonic() - (self._out_since or tries.began)
            if tries.attempt >= FEWEST_TRIES
            else 0.0
        )
        if not self._policy.allows(wait, elapsed=max(elapsed, out)):
            raise self._beyond_budget(again.cause, wait, max(elapsed, out))
        if wait >= WAIT_WORTH_A_WORD:
            logger.warning("Waiting %.0f s: %s", wait, again.cause)
        self.pace.sleep(wait)
        if wait >= WAIT_WORTH_A_WORD:
            logger.info("Asking F&O again after %.0f s.", wait)

    def _beyond_budget(self, cause: D365FOError, wait: float, elapsed: float) -> D365FOError:
        cause.message += (
            f" Given up after {elapsed:.0f} s: the next try would be in {wait:.0f} s, and retry_budget_seconds is "
            f"{self._config.retry_budget_seconds}."
        )
        return cause

    def _held_too_long(self, request: Request, wait: float, tries: _Tries) -> D365FOError:
        message = f"{_doing(request)}: F&O wants no request for now. {self.pace.reason}"
        error = ThrottledError(message, remedy=remedies.THROTTLED)
        error.retry_after = wait
        return self._beyond_budget(error, wait, self.clock.monotonic() - tries.began)

    # -- guarding ---------------------------------------------------------------------------------------

    def _refuse_foreign(self, url: str) -> None:
        """The token goes to the configured origin and nowhere else."""
        if _origin(url) != self._origin:
            raise PagingError(
                f"A link leads to {urlsplit(url).netloc}, which is not the environment; it was not followed."
            )

    def stop(self) -> None:
        """End all waits now; no further request begins."""
        self.pace.stop()

    def close(self) -> None:
        """Give all connections back."""
        self._http.close()
        self.authenticator.close()


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or 443


def _doing(request: Request) -> str:
    return f"{request.what[:1].upper()}{request.what[1:]}"


def _said(request: Request, answer: Answer) -> str:
    """Say what we were doing and what came back."""
    inner = retry.inner_message(answer.body)
    if not inner and answer.body and "html" not in answer.headers.get("Content-Type", "").lower():
        inner = answer.body[:200].decode("utf-8", "replace")
    what = (
        f": {inner}"
        if inner
        else (" with an empty body." if not answer.body else " with a page that is not OData's.")
    )
    return f"{_doing(request)}: F&O answered {answer.status}{what}"


def _shown(url: str) -> str:
    """Return the query part of a URL as a person would write it."""
    return unquote(urlsplit(url).query).replace("cross-company=true&", "")[:600]


_TIMEOUTS: tuple[type[Exception], ...] = (requests.Timeout, urllib3.exceptions.TimeoutError, TimeoutError)


def _no_answer(request: Request, exc: Exception, client_request_id: str) -> TransportError:
    """Say why no answer came, without the words of three libraries around it."""
    root: BaseException = exc
    while True:
        inner = root.__cause__ or root.__context__ or getattr(root, "reason", None)
        if not isinstance(inner, BaseException) or inner is root:
            break
        root = inner
    kind, remedy = remedies.for_no_answer(exc, root)
    ids = {CLIENT_REQUEST_ID: client_request_id}
    message = f"{_doing(request)}: {kind} ({_plain(root)})."
    slow = isinstance(exc, _TIMEOUTS) and not isinstance(exc, requests.ConnectTimeout)
    return (SlowAnswerError if slow else TransportError)(message, remedy=remedy, ids=ids)


def _plain(exc: BaseException) -> str:
    if isinstance(exc, ssl.SSLError):
        return exc.reason or "TLS failure"
    text = str(exc)
    return text if text and len(text) < 200 else type(exc).__name__  # noqa: PLR2004
