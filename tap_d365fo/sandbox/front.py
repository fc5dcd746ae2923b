"""What happens to a request between the socket and the rows: faults, sign-in, limits, and the records kept.

`Front.answer` is the one way in. It knows nothing of sockets, so that a reply can be judged without one.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from random import Random
from typing import TYPE_CHECKING, Any

from tap_d365fo.sandbox import packages
from tap_d365fo.sandbox.entra import Entra, Identity
from tap_d365fo.sandbox.fault_kinds import ENTRA_PATH, ENVIRONMENT_PATH, Strike, throttled
from tap_d365fo.sandbox.landscape import Landscape
from tap_d365fo.sandbox.reply import (
    UNAUTHORIZED,
    Refusal,
    Reply,
    Request,
    error_envelope,
    gateway_error,
    html_page,
    query_too_long,
)
from tap_d365fo.sandbox.service import DataService, Page

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tap_d365fo.sandbox.dataset import Dataset
    from tap_d365fo.sandbox.faults import Fault, Faults
    from tap_d365fo.sandbox.switches import Switches

_ENVIRONMENT = re.compile(ENVIRONMENT_PATH, re.IGNORECASE)
_ENTRA = re.compile(ENTRA_PATH)
_ACTION = re.compile(r"/data/(\w+)/Microsoft\.Dynamics\.DataEntities\.(\w+)$")
_SOON_S = 0.25
"""A request of another connection may have been on its way when the Retry-After went out."""


@dataclass(frozen=True, slots=True)
class RequestRecord:
    """One request as it was answered."""

    time: float
    """When it arrived, on the monotonic clock."""
    method: str
    path: str
    query: Mapping[str, str]
    status: int
    """0 where the connection was reset in place of an answer."""
    authorization: str
    """The audience of the token it carried; `?` for a stranger's token, empty for none."""
    host: str
    bytes_sent: int
    seconds: float
    prefer: str = ""
    accept: str = ""
    client_request_id: str = ""
    activity_id: str = ""
    faults: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Violation:
    """A request that came before a Retry-After had passed."""

    path: str
    early_s: float
    """How much too early."""


@dataclass(slots=True)
class _Hook:
    path: re.Pattern[str]
    nth: int
    call: Callable[[], object]
    seen: int = 0


@dataclass(slots=True)
class _Quiet:
    """A stretch of time in which the environment asked to be left alone."""

    request: Request
    sent: float
    until: float

    def is_broken_by(self, request: Request, now: float) -> bool:
        """Tell whether a request comes too early, from somebody who can have known."""
        same = request.connection == self.request.connection or request.target == self.request.target
        return self.sent + (0.0 if same else _SOON_S) < now < self.until


@dataclass(slots=True)
class _Counters:
    in_flight: int = 0
    peak: int = 0
    answered: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)


class Front:
    """The environment and its Entra as one function from requests to replies."""

    def __init__(
        self, dataset: Dataset, faults: Faults, switches: Switches, *, seed: int, origin: Callable[[], str]
    ) -> None:
        self.dataset, self.faults, self.switches = dataset, faults, switches
        self._rng = Random(f"front/{seed}")
        self.service = DataService(dataset, switches, Random(f"service/{seed}"))
        self.entra = Entra(Identity(), switches, Random(f"entra/{seed}"), environment=origin)
        self.landscape = Landscape(dataset, switches)
        self.service.other_sets = self.landscape.other_sets
        self.packages = packages.Packages(dataset, switches, Random(f"packages/{seed}"), origin=origin)
        self.requests: list[RequestRecord] = []
        self.violations: list[Violation] = []
        self.foreign_origin = "https://localhost:1"
        self.clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
        self._origin = origin
        self._hooks: list[_Hook] = []
        self._quiet: list[_Quiet] = []
        self._counters = _Counters()

    @property
    def peak_concurrency(self) -> int:
        """Return how many requests to the environment were in flight at most."""
        return self._counters.peak

    def before(self, path: str, call: Callable[[], object], *, nth: int = 1) -> None:
        """Have `call` run before the nth request whose path matches is answered."""
        self._hooks.append(_Hook(re.compile(path), nth, call))

    def answer(self, request: Request) -> Reply:
        """Answer one request; record nothing."""
        if _ENTRA.search(request.path):
            return self._faulted(
                request, self.faults.choose(request.path), lambda _: self.entra.answer(request)
            )
        if request.path.startswith("/dmf/"):
            return self.packages.blob(request)
        if not _ENVIRONMENT.match(request.path):
            return Reply(404, html_page("404 - File or directory not found.", ""), "text/html")
        return self._environment(request)

    def entered(self, request: Request) -> float:
        """Count a request in; return when that was."""
        now = time.monotonic()
        if _ENVIRONMENT.match(request.path):
            with self._counters.lock:
                self._counters.in_flight += 1
                self._counters.peak = max(self._counters.peak, self._counters.in_flight)
            self._check_quiet(request, now)
        return now

    def left(self, request: Request, reply: Reply, *, entered: float, faults: tuple[str, ...]) -> None:
        """Count a request out and record it."""
        now = time.monotonic()
        if _ENVIRONMENT.match(request.path):
            with self._counters.lock:
                self._counters.in_flight -= 1
            self._note_quiet(request, reply, now)
        headers = request.headers
        claims = self.entra.claims_of(request.bearer)
        self.requests.append(
            RequestRecord(
                entered,
                request.method,
                request.path,
                request.options,
                0 if reply.reset else reply.status,
                str(claims.get("aud", "?")) if request.bearer else "",
                request.host,
                len(reply.sent_body),
                now - entered,
                headers.get("prefer", ""),
                headers.get("accept", ""),
                headers.get("x-ms-client-request-id", ""),
                dict(reply.headers).get("ms-dyn-aid", ""),
                faults,
            )
        )

    def _environment(self, request: Request) -> Reply:
        for hook in self._hooks:
            if hook.path.search(request.path):
                hook.seen += 1
                if hook.seen == hook.nth:
                    hook.call()
        chosen = self.faults.choose(request.path)
        dropped = {str(each.params["company"]).lower() for each in chosen if each.name == "dropped-company"}
        dropped |= self.switches.listed("companies.dropped")
        reply = self._faulted(
            request, chosen, lambda strikes: self._settled(request, strikes, frozenset(dropped))
        )
        return self._dressed(request, reply)

    def _faulted(self, request: Request, chosen: list[Fault], calm: Callable[[list[Strike]], Reply]) -> Reply:
        strikes = [self._strike(fault, request) for fault in chosen]
        for strike in strikes:
            if strike.kind.instead and (reply := strike.kind.instead(strike)) is not None:
                return reply
        reply = calm(strikes)
        for strike in strikes:
            if strike.kind.spoil:
                reply = strike.kind.spoil(strike, reply)
        return reply

    def _strike(self, fault: Fault, request: Request) -> Strike:
        form = str(self.switches["error.429_body"])
        return Strike(
            fault.kind,
            fault.params,
            request,
            self._rng,
            self.clock(),
            foreign_origin=self.foreign_origin,
            revoke=self.entra.revoke,
            body_form=form,
        )

    def _settled(self, request: Request, strikes: list[Strike], dropped: frozenset[str]) -> Reply:
        try:
            self._check_gateway(request)
            self._check_access(request)
            answer = self._routed(request, dropped)
        except Refusal as refusal:
            return refusal.reply
        if isinstance(answer, Reply):
            return answer
        delay = self._latency(answer)
        page: Page | Reply = answer
        for strike in strikes:
            if strike.kind.amend and isinstance(page, Page):
                page = strike.kind.amend(strike, page)
        reply = page.render() if isinstance(page, Page) else page
        return self._in_time(replace(reply, delay_s=delay, may_compress=self.switches["gzip"] == "on"))

    def _routed(self, request: Request, dropped: frozenset[str]) -> Reply | Page:
        path = request.path.rstrip("/")
        if request.method == "POST":
            action = _ACTION.match(path)
            if action is None:
                return Reply(501, error_envelope("The request is not supported."))
            acts = self.packages.act if action[1] == packages.SET else self.service.act
            return acts(request, action[2])
        if request.method != "GET":
            return Reply(405, error_envelope("The requested resource does not support that method."))
        if path.lower().startswith("/metadata"):
            return self.landscape.metadata_service(request)
        fixed: Mapping[str, Callable[[], Reply]] = {
            "/data": lambda: self.service.document(request),
            "/data/$metadata": self.landscape.csdl_reply,
        }
        return fixed[path]() if path in fixed else self.service.answer(request, dropped=dropped)

    def _check_gateway(self, request: Request) -> None:
        limit = self.switches.number("throttle.concurrent")
        if limit and self._counters.in_flight > limit:
            wait = self.switches.number("throttle.retry_after_s")
            raise Refusal(throttled(wait, str(self.switches["error.429_body"]), 2))
        if len(request.raw_query) > self.switches.number("url.max_query"):
            raise Refusal(query_too_long(str(self.switches["url.too_long"])))
        form = self.switches["gateway.html"]
        if form != "off" and self._rng.random() < self.switches.number("gateway.share"):
            titles = {
                "502": "Bad Gateway",
                "503": "Service Unavailable",
                "504": "Gateway Time-out",
                "200": "OK",
            }
            raise Refusal(gateway_error(int(str(form)), titles[str(form)]))

    def _check_access(self, request: Request) -> None:
        if "authorization" not in request.headers:
            page = html_page("Object moved", "Object moved to here.")
            location = f"{self._origin()}/{self.entra.identity.tenant_id}/oauth2/authorize?client_id=erp"
            raise Refusal(Reply(302, page, "text/html; charset=utf-8").with_header("Location", location))
        token = self.entra.token(request.bearer)
        identity = self.entra.identity
        fits = token is not None and (
            token.claims["aud"] == self._origin()
            and token.claims["tid"] == identity.tenant_id
            and token.claims.get("oid") == identity.object_id
        )
        setup = self.switches["setup"]
        if not fits or setup == "user-disabled":
            raise Refusal(UNAUTHORIZED)
        if setup == "unregistered":
            raise Refusal(_unregistered(str(self.switches["auth.unregistered"])))

    def _latency(self, page: Page) -> float:
        number = self.switches.number
        per_row = number("latency.per_row_s") * len(page.rows)
        return number("latency.page_s") + per_row + number("latency.per_skipped_row_s") * page.skipped

    def _in_time(self, reply: Reply) -> Reply:
        limit = self.switches.number("request.timeout_s")
        if limit and reply.delay_s > limit:
            return replace(gateway_error(504, "Gateway Time-out"), delay_s=limit)
        return reply

    def _dressed(self, request: Request, reply: Reply) -> Reply:
        with self._counters.lock:
            self._counters.answered += 1
            is_first = self._counters.answered == 1
            activity = f"{self._rng.getrandbits(128):032x}"
        if is_first:
            reply = replace(reply, delay_s=reply.delay_s + self.switches.number("startup.delay_s"))
        probability = self.switches.number("truncate_body")
        if probability and self._rng.random() < probability:
            reply = replace(reply, cut_at=0.5)
        dashed = "-".join((activity[:8], activity[8:12], activity[12:16], activity[16:20], activity[20:]))
        reply = reply.with_header("ms-dyn-aid", dashed).with_header("OData-Version", "4.0")
        if client_id := request.headers.get("x-ms-client-request-id"):
            reply = reply.with_header("x-ms-client-request-id", client_id)
        if self.switches["affinity_cookie"] == "on":
            cookie = f"ApplicationGatewayAffinity={activity}; Path=/; HttpOnly; Secure"
            reply = reply.with_header("Set-Cookie", cookie)
        return reply

    def _check_quiet(self, request: Request, now: float) -> None:
        early = [each.until - now for each in self._quiet if each.is_broken_by(request, now)]
        if early:
            self.violations.append(Violation(request.path, max(early)))

    def _note_quiet(self, request: Request, reply: Reply, now: float) -> None:
        text = dict(reply.headers).get("Retry-After")
        if text is None:
            return
        try:
            wait = float(text)
        except ValueError:
            wait = (parsedate_to_datetime(text) - self.clock()).total_seconds()
        self._quiet.append(_Quiet(request, now, now + wait))

    def report(self) -> dict[str, Any]:
        """Return what was recorded, in numbers."""
        statuses: dict[str, int] = {}
        for each in list(self.requests):
            statuses[str(each.status)] = statuses.get(str(each.status), 0) + 1
        return {
            "requests": len(self.requests),
            "statuses": statuses,
            "token_requests": len(self.entra.requests),
            "violations": len(self.violations),
            "peak_concurrency": self.peak_concurrency,
            "bytes_sent": sum(each.bytes_sent for each in list(self.requests)),
            "faults_struck": len(self.faults.struck),
        }


def _unregistered(form: str) -> Reply:
    if form == "401 empty":
        return UNAUTHORIZED
    if form == "403 empty":
        return Reply(403, b"", None)
    return Reply(403, error_envelope("Forbidden", "The application is not registered in this environment."))
