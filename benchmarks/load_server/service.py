"""Requests to answers: Entra's sign-in, F&O's OData, and the server's own controls.

A page's bytes are kept once they are made, so that measured runs are served from memory: the warm-up pays.
"""

from __future__ import annotations

import base64
import functools
import gzip
import json
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from benchmarks.load_server import ranges
from benchmarks.load_server.behaviour import Meter
from benchmarks.load_server.entities import shapes
from benchmarks.load_server.filters import FilterError
from benchmarks.load_server.table import Table
from tap_d365fo.sandbox.definition import define
from tap_d365fo.sandbox.fullsize import full_size
from tap_d365fo.sandbox.metadata import csdl

JSON = "application/json; odata.metadata=minimal"
TENANT = "11111111-2222-3333-4444-555555555555"
_OPTIONS = {"cross-company", "$select", "$filter", "$orderby", "$top", "$skip", "$count"}
_PAGE_SIZE = re.compile(r"odata\.maxpagesize=(\d+)")
_TOKEN_SECONDS = 3599


@dataclass(frozen=True, slots=True)
class Request:
    """What a client sent."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    base: str
    """Scheme and host by which the client knows us."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    body: bytes
    status: int = 200
    content_type: str = JSON
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Rendered:
    plain: bytes
    rows: int
    zipped: bytes | None = None


class PageCache:
    """Rendered answers, the least recently used dropped when they outgrow their room."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._held: OrderedDict[Any, tuple[int, Any]] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, key: Any, make: Callable[[], tuple[int, Any]]) -> Any:
        """Return what is held under a key, made first if it is not there; `make` also says its size."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key][1]
        size, made = make()
        with self._lock:
            if key not in self._held and size <= self._capacity // 8:
                self._held[key] = (size, made)
                self._size += size
            while self._size > self._capacity:
                self._size -= self._held.popitem(last=False)[1][0]
        return made


class LoadService:
    """Everything the server answers."""

    def __init__(
        self, *, rows: Mapping[str, int], companies: int, cache_bytes: int, full_metadata: bool
    ) -> None:
        self.meter = Meter()
        names = tuple(f"c{number:03}" for number in range(1, companies + 1))
        self.companies = names
        self._tables = {
            shape.name: Table(shape, rows=rows.get(shape.name, 50), companies=names) for shape in shapes()
        }
        self._cache = PageCache(cache_bytes)
        self._full_metadata = full_metadata

    def answer(self, request: Request) -> Answer:
        """Answer any request."""
        path = unquote(urlsplit(request.target).path)
        try:
            if path.startswith("/data/"):
                return self._data(path.removeprefix("/data/"), request)
            if path.startswith("/__load__/"):
                return self._control(path.removeprefix("/__load__/"), request)
            return _entra(path, request)
        except FilterError as exc:
            return _error(400, str(exc))

    # -- the server's own controls ----------------------------------------------------------------------

    def _control(self, what: str, request: Request) -> Answer:
        values = json.loads(request.body or b"{}")
        if what == "behaviour":
            self.meter.set(values)
        elif what == "reset":
            self.meter.reset()
        elif what == "change":
            return _json(self._tables[values.pop("entity")].change(**values))
        return _json(self.meter.report())

    # -- F&O ------------------------------------------------------------------------------------------------

    def _data(self, path: str, request: Request) -> Answer:
        if path == "$metadata":
            return self._metadata(request)
        with self.meter.admitted() as admitted:
            if not admitted:
                return _error(429, "Too many requests.", {"Retry-After": "1"})
            return self._resource(path, request)

    def _resource(self, path: str, request: Request) -> Answer:
        name, _, rest = path.partition("/")
        if rest.endswith("GetApplicationVersion"):
            return _json({"value": "10.0.47"})
        if name == "LegalEntities":
            self.meter.take_time()
            rows = [{"LegalEntityId": each} for each in self.companies]
            return _json({"@odata.context": f"{request.base}/data/$metadata#LegalEntities", "value": rows})
        table = self._tables.get(name)
        if table is None:
            return _error(404, f"No HTTP resource was found that matches the request URI '{path}'.")
        options = _query(request.target)
        if rest == "$count":
            self.meter.take_time()
            return Answer(
                b"\xef\xbb\xbf%d" % ranges.size(_filtered(table, options)), content_type="text/plain"
            )
        return self._page(table, options, request)

    def _page(self, table: Table, options: dict[str, str], request: Request) -> Answer:
        limit = _page_size(request, self.meter.behaviour.largest_page)
        zipped = self.meter.behaviour.gzip and "gzip" in request.headers.get("accept-encoding", "")
        bare = "odata.metadata=none" in request.headers.get("accept", "")
        key = (table.shape.name, table.round, tuple(options.items()), limit, request.base, zipped, bare)
        render = functools.partial(_rendered, table, options, limit, request.base, zipped=zipped, bare=bare)
        page = self._cache.get(key, render)
        self.meter.take_time(rows=page.rows, skipped=int(options.get("$skip", 0)))
        body = page.zipped if zipped else page.plain
        self.meter.sent(size=len(body), rows=page.rows)
        return Answer(body, headers={"Content-Encoding": "gzip"} if zipped else {})

    def _metadata(self, request: Request) -> Answer:
        body, zipped = self._metadata_bytes
        if self.meter.behaviour.gzip and "gzip" in request.headers.get("accept-encoding", ""):
            return Answer(zipped, content_type="application/xml", headers={"Content-Encoding": "gzip"})
        return Answer(body, content_type="application/xml")

    @functools.cached_property
    def _metadata_bytes(self) -> tuple[bytes, bytes]:
        legal = define("LegalEntities", "LegalEntity", "LegalEntityId", "LegalEntityId:s Name:s")
        own = [legal, *(each.shape.definition for each in self._tables.values())]
        others = full_size(frozenset(each.name for each in own)) if self._full_metadata else ()
        body = csdl([*own, *others])
        return body, gzip.compress(body, 6)


def _filtered(table: Table, options: Mapping[str, str]) -> ranges.Ranges:
    across = options.get("cross-company", "").lower() == "true"
    return table.rows(options.get("$filter", ""), across_companies=across)


def _rendered(
    table: Table, options: dict[str, str], limit: int, base: str, *, zipped: bool, bare: bool
) -> tuple[int, _Rendered]:
    """Render a page in F&O's framing, bare of context and etags or not, zipped or not."""
    _check_order(table, options.get("$orderby", ""))
    select = tuple(each.strip() for each in options.get("$select", "").split(",") if each)
    skip, top = int(options.get("$skip", 0)), int(options.get("$top", -1))
    rows = _filtered(table, options)
    total = ranges.size(rows)
    take = limit if top < 0 else min(limit, top)
    here = ranges.cut(rows, skip=skip, take=take)
    count = ranges.size(here)
    context = f"{base}/data/$metadata#{table.shape.name}" + (f"({','.join(select)})" if select else "")
    head = "{" if bare else f'{{"@odata.context":{json.dumps(context)},'
    if options.get("$count", "").lower() == "true":
        head += f'"@odata.count":{total},'
    tail = "]"
    if skip + count < total and top != count:
        link = _next_link(table, options, skip=skip + count, top=top - count if top >= 0 else None)
        tail += f',"@odata.nextLink":{json.dumps(base + link)}'
    body = b"".join(
        (head.encode(), b'"value":[', table.render(here, select, etags=not bare), tail.encode(), b"}")
    )
    page = _Rendered(b"" if zipped else body, count, gzip.compress(body, 1) if zipped else None)
    return len(page.plain) + len(page.zipped or b""), page


def _next_link(table: Table, options: Mapping[str, str], *, skip: int, top: int | None) -> str:
    kept = {**options, "$skip": str(skip), **({"$top": str(top)} if top is not None else {})}
    query = "&".join(f"{name}={quote(value, safe='$,()')}" for name, value in kept.items())
    return f"/data/{table.shape.name}?{query}"


def _check_order(table: Table, orderby: str) -> None:
    """Rows come in key order; any other order is refused rather than faked."""
    names = [each.split()[0] for each in orderby.split(",") if each.strip()]
    key = list(table.shape.definition.key)
    if " desc" in orderby or names not in (key[: len(names)], key[1:]):
        raise FilterError(f"Rows cannot be ordered by {orderby!r} here.")


def _query(target: str) -> dict[str, str]:
    options = dict(parse_qsl(urlsplit(target).query, keep_blank_values=True))
    if unknown := options.keys() - _OPTIONS:
        raise FilterError(f"The query option {unknown.pop()!r} is not known.")
    return options


def _page_size(request: Request, largest: int) -> int:
    asked = _PAGE_SIZE.search(request.headers.get("prefer", ""))
    return min(int(asked[1]), largest) if asked else largest


# -- Entra ---------------------------------------------------------------------------------------------------


def _entra(path: str, request: Request) -> Answer:
    if path.endswith("/.well-known/openid-configuration"):
        authority = f"{request.base}/{path.split('/')[1]}"
        return _json(
            {
                "token_endpoint": f"{authority}/oauth2/v2.0/token",
                "authorization_endpoint": f"{authority}/oauth2/v2.0/authorize",
                "issuer": f"{request.base}/{TENANT}/v2.0",
            }
        )
    if path.endswith("/oauth2/v2.0/token"):
        token = _token(request.base)
        return _json({"token_type": "Bearer", "expires_in": _TOKEN_SECONDS, "access_token": token})
    return _error(404, f"There is nothing at {path}.")


def _token(audience: str) -> str:
    now = int(time.time())
    claims = {
        "aud": audience,
        "tid": TENANT,
        "oid": TENANT,
        "appid": TENANT,
        "iat": now,
        "exp": now + _TOKEN_SECONDS,
    }
    parts = (json.dumps(each).encode() for each in ({"alg": "none", "typ": "JWT"}, claims))
    return ".".join(base64.urlsafe_b64encode(each).decode().rstrip("=") for each in parts) + ".unsigned"


def _json(value: Any) -> Answer:
    return Answer(json.dumps(value).encode())


def _error(status: int, message: str, headers: dict[str, str] | None = None) -> Answer:
    body = {"error": {"code": "", "message": message}}
    return Answer(json.dumps(body).encode(), status, headers=headers or {})
