"""Weather and malice by name: one row per fault of what it does.

A fault acts at one of three moments: in place of the answer, on a page that still consists of rows, or on
the finished reply. When it strikes is `faults.py`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tap_d365fo.sandbox.entra import entra_error
from tap_d365fo.sandbox.reply import (
    UNAUTHORIZED,
    Reply,
    Request,
    bad_query,
    error_envelope,
    gateway_error,
    html_page,
    query_too_long,
)
from tap_d365fo.sandbox.service import Page, denied_entity
from tap_d365fo.sandbox.values import NAMESPACE

if TYPE_CHECKING:
    from random import Random

ENVIRONMENT_PATH = r"^/(data|metadata|api)\b"
ENTRA_PATH = r"/oauth2/|/\.well-known/"

THROTTLE_TEXTS = (
    "Number of requests exceeded the limit of 6000 over the time window of 300 seconds.",
    (
        "Combined execution time of incoming requests exceeded the limit of 1200 seconds over the time "
        "window of 300 seconds. Decrease the number of concurrent requests or reduce the duration of "
        "requests and try again later."
    ),
    "Number of concurrent requests exceeded the limit of 52.",
    (
        "This request could not be processed at this time due to system experiencing high resource "
        "utilization. Retry the request after {0} seconds"
    ),
)


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that strikes one request, with what it needs from its surroundings."""

    kind: FaultKind
    params: Mapping[str, Any]
    request: Request
    rng: Random
    now: datetime
    foreign_origin: str = ""
    revoke: Callable[[str | None], None] = field(default=lambda _token: None)
    body_form: str = "envelope"

    def __getitem__(self, name: str) -> Any:
        return self.params[name]


Instead = Callable[[Strike], Reply | None]
Amend = Callable[[Strike, Page], Page | Reply]
Spoil = Callable[[Strike, Reply], Reply]


@dataclass(frozen=True, slots=True)
class FaultKind:
    """One row of the table."""

    says: str
    instead: Instead | None = None
    amend: Amend | None = None
    spoil: Spoil | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    path: str = ENVIRONMENT_PATH
    at_first: Mapping[str, Any] = field(default_factory=lambda: {"share": 0.1})
    """When it strikes if nobody says (command line)."""
    looks_first: bool = False
    """Whether it leaves a request alone that does not ask for what it is about."""

    @property
    def is_final(self) -> bool:
        """Tell whether a strike always stands in place of the answer."""
        return self.instead is not None and not self.looks_first


# In place of an answer


def throttled(retry_after: float, form: str = "envelope", text: int = 3) -> Reply:
    """Return a 429 with a Retry-After in seconds, its text said in one of three forms."""
    message = THROTTLE_TEXTS[text % len(THROTTLE_TEXTS)].replace("{0}", f"{retry_after:g}")
    bodies = {
        "envelope": Reply(429, error_envelope(message)),
        "text": Reply(429, message.encode(), "text/plain; charset=utf-8"),
        "empty": Reply(429, b"", None),
    }
    return bodies[form].with_header("Retry-After", f"{retry_after:g}")


def _throttle(strike: Strike) -> Reply:
    return throttled(strike["retry_after"], strike.body_form, int(strike["text"]))


def _throttle_by_date(strike: Strike) -> Reply:
    moment = strike.now.replace(microsecond=0) + timedelta(seconds=1 + float(strike["retry_after"]))
    stamp = format_datetime(moment.astimezone(timezone.utc), usegmt=True)
    bare = throttled(1.0, strike.body_form)
    return replace(bare, headers=()).with_header("Retry-After", stamp)


def _throttle_bare(strike: Strike) -> Reply:
    return replace(throttled(30.0, strike.body_form), headers=())


def _unavailable(strike: Strike) -> Reply:
    return gateway_error(503, "Service Unavailable").with_header("Retry-After", f"{strike['retry_after']:g}")


def _transient_500(_strike: Strike) -> Reply:
    text = "Transaction was deadlocked on lock resources with another process. Rerun the transaction."
    return Reply(500, error_envelope("An error has occurred.", text, "System.Data.SqlClient.SqlException"))


def _unauthorized(strike: Strike) -> Reply:
    strike.revoke(strike.request.bearer)
    return UNAUTHORIZED


def _redirect(strike: Strike) -> Reply:
    page = html_page("Object moved", "Object moved to here.")
    location = str(strike["location"] or f"{strike.foreign_origin}/signin")
    return Reply(302, page, "text/html").with_header("Location", location)


def _too_long(strike: Strike) -> Reply | None:
    if len(strike.request.raw_query) <= int(strike["longer_than"]):
        return None
    return query_too_long(str(strike["form"]))


def _missing_property(strike: Strike) -> Reply | None:
    name, options = str(strike["property"]), strike.request.options
    asked = " ".join(options.get(each, "") for each in ("$select", "$filter", "$orderby"))
    if not re.search(rf"\b{re.escape(name)}\b", asked):
        return None
    return bad_query(f"Could not find a property named '{name}' on type '{NAMESPACE}.{strike['type']}'.")


# On a page of rows


def _poisoned(strike: Strike, page: Page) -> Page | Reply:
    key = set(page.layout.definition.key)
    if set(page.columns) <= key or not any(_is_poisoned(strike, page, row) for row in page.rows):
        return page
    text = (
        f"Failed to read table row of type '{page.layout.definition.aot_name}'. "
        "Infolog: Error: The value in a virtual field cannot be computed."
    )
    error_type = "Microsoft.Dynamics.Platform.Integration.Services.OData.AxODataReadException"
    return Reply(500, error_envelope("An error has occurred.", text, error_type))


def _is_poisoned(strike: Strike, page: Page, row: tuple[str, ...]) -> bool:
    layout, wanted = page.layout, strike["key"]
    values = [str(layout.kinds[name].read(row[layout.place[name]])) for name in layout.definition.key]
    parts = wanted.split("|") if isinstance(wanted, str) else [str(each) for each in wanted]
    return bool(values) and values == parts


def _empty_with_link(strike: Strike, page: Page) -> Page:
    request = strike.request
    again = f"{request.raw_query}&" if request.raw_query else ""
    link = f"https://{request.host}{request.raw_path}?{again}page={strike.rng.randint(10**6, 10**7)}"
    return replace(page, rows=(), expanded={}, next_link=link.replace('"', "%22"))


def _repeating_link(strike: Strike, page: Page) -> Page:
    if page.next_link is None:
        return page
    request = strike.request
    return replace(
        page, next_link=f"https://{request.host}{request.raw_path}?{request.raw_query}".replace('"', "%22")
    )


def _foreign_link(strike: Strike, page: Page) -> Page:
    if page.next_link is None:
        return page
    return replace(page, next_link=re.sub(r"^https?://[^/]+", strike.foreign_origin, page.next_link))


def _without_property(strike: Strike, page: Page) -> Page:
    return replace(page, columns=tuple(each for each in page.columns if each != strike["property"]))


def _fewer_rows(_strike: Strike, page: Page) -> Page:
    """A short page that still has a next link, as a busy server sends."""
    if page.next_link is None or len(page.rows) == 1 or "$skip=" not in page.next_link:
        return page
    kept = max(1, len(page.rows) // 2)
    skip = page.skipped + kept
    return replace(
        page, rows=page.rows[:kept], next_link=re.sub(r"\$skip=\d+", f"$skip={skip}", page.next_link)
    )


# On the finished reply


def _truncated(strike: Strike, reply: Reply) -> Reply:
    return replace(reply, cut_at=float(strike["at"]), chunked=strike["chunked"] in (True, "yes", 1))


def _broken_json(strike: Strike, reply: Reply) -> Reply:
    if reply.status != HTTPStatus.OK:
        return reply
    return replace(reply, body=reply.body[: int(len(reply.body) * float(strike["at"]))])


def _html_200(_strike: Strike, reply: Reply) -> Reply:
    page = html_page("We'll be right back", "The system is being serviced.")
    return replace(reply, status=200, body=page, content_type="text/html")


def _slow(strike: Strike, reply: Reply) -> Reply:
    return replace(reply, delay_s=reply.delay_s + float(strike["seconds"]))


def _reset(_strike: Strike) -> Reply:
    return Reply(0, reset=True)


def _stall(strike: Strike) -> Reply:
    return Reply(0, reset=True, delay_s=float(strike["seconds"]))


def _always(reply: Reply) -> Instead:
    return lambda _strike: reply


_ONCE = {"nth": 2}

FAULTS: Mapping[str, FaultKind] = {
    "throttle-429": FaultKind(
        "429 with Retry-After in seconds.", instead=_throttle, params={"retry_after": 1, "text": 3}
    ),
    "throttle-429-date": FaultKind(
        "429 with Retry-After as an HTTP date.", instead=_throttle_by_date, params={"retry_after": 1}
    ),
    "throttle-429-bare": FaultKind("429 without Retry-After.", instead=_throttle_bare),
    "unavailable-503": FaultKind(
        "503 from a gateway, with Retry-After.", instead=_unavailable, params={"retry_after": 1}
    ),
    "503-bare": FaultKind(
        "503 from a gateway, without Retry-After.", instead=_always(gateway_error(503, "Service Unavailable"))
    ),
    "gateway-502-html": FaultKind(
        "502 from a gateway, as HTML.", instead=_always(gateway_error(502, "Bad Gateway"))
    ),
    "gateway-504-html": FaultKind(
        "504 from a gateway, as HTML.", instead=_always(gateway_error(504, "Gateway Time-out"))
    ),
    "error-500-transient": FaultKind("500 whose text speaks of a deadlock.", instead=_transient_500),
    "error-500-outage": FaultKind(
        "500 with nothing but F&O's constant text, as while it starts.",
        instead=_always(Reply(500, error_envelope("An error has occurred."))),
    ),
    "error-500-poisoned-row": FaultKind(
        "The same 500 for every page with the row of `key` (values by |), unless only keys are asked for.",
        amend=_poisoned,
        params={"key": "usmf|US-005"},
        path=r"^/data/CustomersV3\b",
        at_first={},
    ),
    "unauthorized-401": FaultKind("401, and the token is worthless from then on.", instead=_unauthorized),
    "truncated-body": FaultKind(
        "The connection ends in the middle of the body (`chunked=yes` for a body in chunks).",
        spoil=_truncated,
        params={"at": 0.5, "chunked": "no"},
    ),
    "broken-json": FaultKind(
        "200 whose body is cut off, but of the length announced.", spoil=_broken_json, params={"at": 0.6}
    ),
    "html-200": FaultKind("200 with a page of HTML.", spoil=_html_200),
    "redirect-302": FaultKind(
        "302 to a sign-in page on another host.", instead=_redirect, params={"location": ""}
    ),
    "empty-page-with-link": FaultKind("A page without rows that has a next link.", amend=_empty_with_link),
    "short-page-with-link": FaultKind(
        "A page of half its rows; the link leads on from there.", amend=_fewer_rows
    ),
    "repeating-link": FaultKind(
        "A next link that leads to the same page.", amend=_repeating_link, at_first=_ONCE
    ),
    "foreign-host-link": FaultKind(
        "A next link to another host; whoever sends the token there is recorded in `leaks`.",
        amend=_foreign_link,
        at_first=_ONCE,
    ),
    "connection-reset": FaultKind("The connection is reset in place of an answer.", instead=_reset),
    "slow": FaultKind("The answer comes late.", spoil=_slow, params={"seconds": 1.0}),
    "stall": FaultKind(
        "No answer for `seconds`, then the connection is reset.", instead=_stall, params={"seconds": 3600.0}
    ),
    "query-too-long": FaultKind(
        "A gateway refuses a query of more than `longer_than` characters (`form`: 404.15, 414 or 400).",
        instead=_too_long,
        params={"form": "404.15", "longer_than": 0},
        looks_first=True,
        at_first=_ONCE,
    ),
    "missing-property": FaultKind(
        "A column is gone: rows lack it, and whoever names it gets a 400.",
        instead=_missing_property,
        amend=_without_property,
        params={"property": "NameAlias", "type": "CustomerV3"},
        looks_first=True,
        path=r"^/data/CustomersV3\b",
        at_first={},
    ),
    "permanent-400": FaultKind(
        "400 that stays.", instead=_always(bad_query("The query cannot be translated.")), at_first={}
    ),
    "denied-entity": FaultKind(
        "403 for an entity without privilege.",
        instead=lambda strike: denied_entity(str(strike["form"]), strike.request.path.rpartition("/")[2]),
        params={"form": "403 envelope"},
        path=r"^/data/VendorsV2\b",
        at_first={},
    ),
    "dropped-company": FaultKind(
        "The rows of one company are left out in silence.", params={"company": "ussi"}, at_first={}
    ),
    "entra-500": FaultKind(
        "Entra answers 500.", instead=_always(gateway_error(500, "Internal Server Error")), path=ENTRA_PATH
    ),
    "entra-503": FaultKind(
        "Entra answers 503.",
        instead=lambda strike: entra_error(90033, strike.rng, {"tenant": "", "client": "", "scope": ""}),
        path=ENTRA_PATH,
    ),
    "entra-429": FaultKind(
        "Entra throttles, with Retry-After.",
        instead=lambda strike: entra_error(90055, strike.rng, {}).with_header(
            "Retry-After", f"{strike['retry_after']:g}"
        ),
        params={"retry_after": 1},
        path=ENTRA_PATH,
    ),
    "entra-timeout": FaultKind(
        "Entra does not answer for `seconds`.", instead=_stall, params={"seconds": 3600.0}, path=ENTRA_PATH
    ),
    "entra-reset": FaultKind("Entra resets the connection.", instead=_reset, path=ENTRA_PATH),
    "entra-html": FaultKind(
        "A proxy answers for Entra with a page of HTML.",
        instead=_always(Reply(403, html_page("Access blocked", "By policy of this network."), "text/html")),
        path=ENTRA_PATH,
    ),
}
