"""Sends one request until it has an answer, or an error worth raising.

Token, pace, send, judge, wait, again: all of it here and nowhere else. A request goes to the configured
origin or it does not go; redirects are not followed; the whole body is read before anyone looks at it.
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import urlsplit
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
    SlowAnswerError,
    ThrottledError,
    UnreadablePageError,
)
from tap_d365fo.transport import retry
from tap_d365fo.transport.answers import (
    ACTIVITY_ID,
    CLIENT_REQUEST_ID,
    Answer,
    Request,
    error_of,
    no_answer,
    refusal,
    unreadable,
)
from tap_d365fo.transport.auth import BearerToken, EntraAuthenticator
from tap_d365fo.transport.body import read_body
from tap_d365fo.transport.clock import Clock, SystemClock
from tap_d365fo.transport.http import as_it_is, new_session
from tap_d365fo.transport.pace import HeldTooLong, Pace
from tap_d365fo.transport.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from tap_d365fo.config import Config

__all__ = ["Answer", "Attempt", "Event", "Hold", "ODataSession", "Request", "Traffic", "Wait"]

logger = logging.getLogger("tap_d365fo")

T = TypeVar("T")
Sign = Callable[[requests.PreparedRequest], requests.PreparedRequest]
"""Puts a token on a request, or nothing."""

CONNECT_SECONDS = 30.0
_SIMPLE = "LegalEntities?cross-company=true&$select=LegalEntityId&$top=1"
WAIT_WORTH_A_WORD = 5.0
OUTAGE_SECONDS = 900.0
"""How long a server that answers everything with the same 500 is taken for one that starts."""
FEWEST_TRIES = 3
"""Tries that a request gets even where others have found for a whole budget that nothing answers."""


@dataclass(slots=True)
class Traffic:
    """What a session did so far."""

    requests: int = 0
    bytes_on_wire: int = 0


@dataclass(frozen=True, slots=True)
class Attempt:
    """One request was sent."""

    what: str
    status: int
    """0 where no answer came."""
    seconds: float
    bytes_on_wire: int
    entity_set: str = ""
    """Whose rows it asked for, where it asked for one entity's."""


@dataclass(frozen=True, slots=True)
class Hold:
    """F&O throttled a request, and all requests are held for it."""

    entity_set: str
    seconds: float
    """How much longer than before."""


@dataclass(frozen=True, slots=True)
class Wait:
    """A request begins to wait before it is sent again."""

    what: str
    seconds: float
    reason: str


Event = Attempt | Hold | Wait


@dataclass(slots=True)
class _Tries:
    """What was tried for one request so far."""

    began: float
    policy: retry.RetryPolicy
    attempt: int = 0
    sent_at: float = 0.0
    refusals: int = 0
    redirects: int = 0
    token: str = field(default="", repr=False)
    wait: float | None = None
    """What the last answer asked for, None where it asked for nothing."""
    last_print: str = ""
    identical: int = 0

    def same(self, text: str) -> int:
        """Count how often in a row this came."""
        self.identical = self.identical + 1 if text == self.last_print else 1
        self.last_print = text
        return self.identical


@dataclass(frozen=True, slots=True)
class _Accepted:
    """The token of the latest request that was answered well, and when it was sent."""

    token: str = field(default="", repr=False)
    sent_at: float = 0.0


class _Again(Exception):
    """Try again after a wait, unless that is beyond the budget: then `cause` is raised."""

    def __init__(self, cause: D365FOError, *, at_once: bool = False) -> None:
        self.cause = cause
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
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        self.clock = clock or SystemClock()
        self.rng = rng or random.Random()
        self.pace = pace or Pace(config.max_parallel_requests, self.clock)
        self.authenticator = authenticator or EntraAuthenticator(
            config, clock=self.clock, pace=self.pace, rng=self.rng
        )
        self.on_event = on_event
        """Called from the sending thread with what happens; it must not raise."""
        self.traffic = Traffic()
        self.server_time: datetime | None = None
        """The server's clock as its first answer showed it."""
        self._config = config
        self._policy = retry.RetryPolicy(config.retry_budget_seconds)
        self._origin = _origin(config.environment_url)
        self._http = new_session(pool=config.max_parallel_requests)
        self._session_id = str(uuid4())
        self._lock = threading.Lock()
        self._turns = Turns()
        self._granted: set[str] = set()
        """Paths that F&O ever answered well: then it knows this application, and lets it read there."""
        self._accepted = _Accepted()
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
        budget: float | None = None,
    ) -> T:
        """Send until `read` has made something of an answer.

        `prepare` is called for each attempt. `on_slow` is called after a time-out or a gateway's 502/504,
        so that less can be asked for. Raises what the error ladder says, within the retry budget; `budget`
        lowers it for what nothing depends on.
        """
        tries = _Tries(
            self.clock.monotonic(), self._policy if budget is None else self._policy.within(budget)
        )
        while True:
            request = prepare()
            self._refuse_foreign(request.url)
            tries.attempt += 1
            tries.wait = None
            tries.sent_at = self.clock.monotonic()
            try:
                answer = self._once(request, tries, timeout)
                self._judge(request, answer, tries)
                result = self._read(request, answer, read, tries)
                self._out_since = None
                return result
            except _Again as again:
                if self._out_since is None and not again.at_once:
                    self._out_since = tries.sent_at
                if isinstance(again.cause, SlowAnswerError) and on_slow is not None:
                    on_slow()
                if not again.at_once:
                    self._wait(request, again.cause, tries)

    def reach(self) -> float:
        """Ask the environment's address for anything, without a token; return the seconds that it took.

        Any answer will do: it shows that the name, the way and the certificate are good. Raises
        TransportError.
        """
        request = Request("GET", self._config.service_root, what=f"reaching {self._config.environment_url}")
        tries = _Tries(self.clock.monotonic(), self._policy)
        while True:
            tries.attempt += 1
            tries.sent_at = self.clock.monotonic()
            headers = self._headers(request)
            try:
                with self.pace.slot():
                    answer = self._exchange(request, headers, as_it_is, None)
                    self._hold_others(request, answer, tries)
                return answer.seconds
            except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
                error, is_for_good = no_answer(request, exc, headers[CLIENT_REQUEST_ID])
                if is_for_good or tries.attempt >= FEWEST_TRIES:
                    raise error from None
                self._wait(request, error, tries)

    def wait_until_served(self, cause: UnreadablePageError) -> None:
        """Return once F&O answers a simple question, though it be with a refusal.

        What tells one row that cannot be read from a server that fails whatever it is asked. Raises
        `cause` where it still fails after OUTAGE_SECONDS, or at the end of the retry budget.
        """
        request = Request("GET", f"{self._config.service_root}/{_SIMPLE}", what="looking whether F&O serves")
        tries = _Tries(self.clock.monotonic(), self._policy.within(OUTAGE_SECONDS))
        while True:
            tries.attempt += 1
            try:
                self.send(lambda: request, lambda _answer: None)
                return
            except (AccessDeniedError, EntitySetNotFoundError, QueryRejectedError):
                return
            except UnreadablePageError:
                self._wait(request, cause, tries)

    # -- sending ----------------------------------------------------------------------------------------

    def _once(self, request: Request, tries: _Tries, timeout: float | None) -> Answer:
        """Send once. Raises _Again where no answer comes.

        The token comes before the place in the queue: a sign-in can take minutes, in which F&O may have
        asked all requests to wait. One that ran out while the request queued is replaced the same way.
        """
        until = tries.began + tries.policy.budget_seconds
        headers = self._headers(request)
        try:
            while True:
                token = self.authenticator.token()
                with self.pace.slot(until=until) as began:
                    if not self.authenticator.holds(token):
                        continue
                    tries.token, tries.sent_at = token, began
                    answer = self._exchange(request, headers, BearerToken(token), timeout)
                    self._hold_others(request, answer, tries)
                    return answer
        except HeldTooLong as held:
            raise self._held_too_long(request, held.seconds, tries) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as exc:
            seconds = self.clock.monotonic() - tries.sent_at
            self._tell(Attempt(request.what, 0, seconds, 0, request.entity_set))
            error, is_for_good = no_answer(request, exc, headers[CLIENT_REQUEST_ID])
            raise (error if is_for_good else _Again(error)) from None

    def _headers(self, request: Request) -> Mapping[str, str]:
        return {
            "Accept": "application/json",
            "OData-Version": "4.0",
            "OData-MaxVersion": "4.0",
            "User-Agent": f"tap-d365fo/{__version__}",
            CLIENT_REQUEST_ID: str(uuid4()),
            "x-ms-client-session-id": self._session_id,
            **request.headers,
        }

    def _exchange(
        self, request: Request, headers: Mapping[str, str], auth: Sign, timeout: float | None
    ) -> Answer:
        began = self.clock.monotonic()
        seconds = timeout or self._config.request_timeout_seconds
        response = self._http.request(
            request.method,
            request.url,
            headers=headers,
            auth=auth,
            data=request.body,
            timeout=(self.clock.timeout(min(CONNECT_SECONDS, seconds)), self.clock.timeout(seconds)),
            allow_redirects=False,
            stream=True,
        )
        with response:
            deadline = began + 2 * seconds
            body = read_body(
                response.raw,
                seconds_left=lambda: deadline - self.clock.monotonic(),
                look=self._look,
                turns=self._turns,
            )
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
        self._account(request, answer)
        return answer

    def _look(self) -> None:
        if self.pace.stopped:
            raise Interrupted("Stopped while reading an answer.")

    def _account(self, request: Request, answer: Answer) -> None:
        with self._lock:
            self.traffic.requests += 1
            self.traffic.bytes_on_wire += answer.bytes_on_wire
            if self.server_time is None:
                self.server_time = retry.http_date(answer.headers.get("Date"))
        seen = answer.status, answer.seconds, answer.bytes_on_wire
        self._tell(Attempt(request.what, *seen, request.entity_set))

    def _hold_others(self, request: Request, answer: Answer, tries: _Tries) -> None:
        """Hold all requests before this one's place is free: nobody may slip in between."""
        if retry.verdict(answer.status, answer.body, answer.headers) != "throttled":
            return
        asked = retry.asked_wait(answer.headers)
        tries.wait = tries.policy.wait(tries.attempt, self.rng, asked=asked)
        reason = error_of("throttled", request, answer).message
        held = self.pace.hold(tries.wait, reason=reason, asked_at=tries.sent_at)
        self._tell(Hold(request.entity_set, held))

    # -- judging ----------------------------------------------------------------------------------------

    def _judge(self, request: Request, answer: Answer, tries: _Tries) -> None:
        """Return for a success; raise _Again for weather, and the right error for anything else."""
        verdict = retry.verdict(answer.status, answer.body, answer.headers)
        if verdict == "good":
            self._granted.add(urlsplit(request.url).path)
            if tries.sent_at >= self._accepted.sent_at:
                self._accepted = _Accepted(tries.token, tries.sent_at)
            self._vain_renewals = 0
            self.pace.succeeded()
            return
        if verdict == "sign-in":
            raise self._judge_sign_in(request, answer, tries)
        if verdict == "denied":
            raise self._refusal(request, answer)
        error = error_of(verdict, request, answer)
        if isinstance(error, ThrottledError):
            error.retry_after = tries.wait
        if verdict == "server":
            inner = retry.inner_message(answer.body)
            # Metadata is no data that could be bad: it fails while a server starts.
            is_data = inner and not request.url.partition("?")[0].endswith("/$metadata")
            most = retry.IDENTICAL_ERRORS if is_data else retry.IDENTICAL_BLANK_ERRORS
            if tries.same(f"500 {inner}") >= most:
                raise unreadable(request, answer)
        raise _Again(error) if error.fault == "transient" else error

    def _judge_sign_in(self, request: Request, answer: Answer, tries: _Tries) -> Exception:
        """A 401 or a redirect to a sign-in page: new tokens, a few; then it is a refusal."""
        denied = self._refusal(request, answer)
        if self.authenticator.has_replaced(tries.token):
            return _Again(denied, at_once=True)  # refused for another request too, and renewed for that one
        tries.refusals += 1
        if answer.status // 100 == 3:  # noqa: PLR2004
            return self._judge_redirect(denied, tries)
        standing = self._standing(request)
        if tries.refusals >= retry.REFUSALS[standing] or not self._renew(tries, standing):
            return denied
        return _Again(denied, at_once=tries.refusals == 1)

    def _judge_redirect(self, denied: D365FOError, tries: _Tries) -> Exception:
        """A new token at the first, then it may be a page about maintenance that is waited out."""
        if tries.refusals == 1 and self._renew(tries, "stranger"):
            return _Again(denied, at_once=True)
        tries.redirects += 1
        return _Again(denied) if self._granted or tries.redirects < retry.SIGN_IN_REDIRECTS else denied

    def _standing(self, request: Request) -> str:
        """Say whom F&O refuses: a key of `retry.REFUSALS`."""
        if not self._granted:
            return "stranger"
        return "known" if urlsplit(request.url).path in self._granted else "new"

    def _renew(self, tries: _Tries, standing: str) -> bool:
        """Get a new token unless the old one is good elsewhere; say whether there is one worth trying.

        A token with which another request was sent later, and answered well, is not what was refused.
        """
        accepted = self._accepted
        if accepted.token == tries.token and accepted.sent_at > tries.sent_at:
            return True
        if self._vain_renewals >= retry.VAIN_RENEWALS[standing]:
            return False
        if self.authenticator.renew(tries.token):
            self._vain_renewals += 1
        return True

    def _refusal(self, request: Request, answer: Answer) -> D365FOError:
        cause = remedies.cause_of_refusal(
            answer.status,
            self.authenticator.claims(),
            environment_url=self._config.environment_url,
            tenant_id=self._config.tenant_id,
            others_granted=self._standing(request) == "new",
        )
        return refusal(request, answer, cause)

    def _read(self, request: Request, answer: Answer, read: Callable[[Answer], T], tries: _Tries) -> T:
        try:
            return read(answer)
        except BrokenAnswerError as exc:
            remedy = str(remedies.find("answer", "broken"))
            error = BrokenAnswerError(f"{request.doing}: {exc.message}", remedy=remedy, ids=answer.ids)
            identical = tries.same(hashlib.sha256(answer.body).hexdigest())
            if identical >= retry.IDENTICAL_BODIES and retry.is_json_cut(answer.body):
                raise error from exc
            raise _Again(error) from None

    # -- waiting ----------------------------------------------------------------------------------------

    def _wait(self, request: Request, cause: D365FOError, tries: _Tries) -> None:
        """Wait as told, or raise the cause where that is beyond the budget."""
        wait = tries.policy.wait(tries.attempt, self.rng) if tries.wait is None else tries.wait
        now = self.clock.monotonic()
        elapsed = now - tries.began
        if tries.attempt >= FEWEST_TRIES and self._out_since is not None:
            # Where nothing was answered for so long, those that ask only now have waited with the others.
            elapsed = max(elapsed, now - self._out_since)
        if not tries.policy.allows(wait, elapsed=elapsed):
            raise self._beyond_budget(cause, wait, elapsed)
        self._tell(Wait(request.what, wait, cause.message))
        if wait >= WAIT_WORTH_A_WORD:
            logger.warning("Waiting %.0f s: %s", wait, cause)
        self.pace.sleep(wait)
        if wait >= WAIT_WORTH_A_WORD:
            logger.info("Waited %.0f s; %s again.", wait, request.what)

    def _beyond_budget(self, cause: D365FOError, wait: float, elapsed: float) -> D365FOError:
        cause.message += (
            f" Given up after {elapsed:.0f} s: the next try would be in {wait:.0f} s, and retry_budget_seconds is "
            f"{self._config.retry_budget_seconds}."
        )
        return cause

    def _held_too_long(self, request: Request, wait: float, tries: _Tries) -> D365FOError:
        message = f"{request.doing}: F&O wants no request for now. {self.pace.reason}"
        error = ThrottledError(message, remedy=str(remedies.find("answer", "throttled")))
        error.retry_after = wait
        return self._beyond_budget(error, wait, self.clock.monotonic() - tries.began)

    def _tell(self, event: Event) -> None:
        if self.on_event is not None:
            self.on_event(event)

    # -- guarding ---------------------------------------------------------------------------------------

    def _refuse_foreign(self, url: str) -> None:
        """The token goes to the configured origin and nowhere else."""
        if _origin(url) != self._origin:
            raise PagingError(f"A link leads away from the environment and was not followed: {url[:200]!r}.")

    def stop(self) -> None:
        """End all waits now; no further request begins."""
        self.pace.stop()

    def close(self) -> None:
        """Give all connections back."""
        self._http.close()
        self.authenticator.close()


def _origin(url: str) -> tuple[str, str, int] | None:
    """Return where a URL really leads: read by the library that will connect, which is not urllib's reading.

    None for what cannot be read, or can be read in two ways (a backslash, a user's name): no address of ours
    has that.
    """
    if "\\" in url:
        return None
    try:
        parts = urllib3.util.parse_url(url)
    except urllib3.exceptions.LocationParseError:
        return None
    if parts.auth is not None or parts.scheme is None or parts.host is None:
        return None
    return parts.scheme, parts.host.lower(), parts.port or 443
