"""A second stand-in, small and of another make than the sandbox: it shares no code and no habits with it.

One entity by company, one global, in an environment whose habits a test chooses. What is not asked for plainly
(an option, an operator) it takes or refuses as its habits say.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import ssl
import threading
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

if TYPE_CHECKING:
    from typing_extensions import Self

Row = dict[str, Any]

METADATA = """<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>
<Schema Namespace="Microsoft.Dynamics.DataEntities" xmlns="http://docs.oasis-open.org/odata/ns/edm">
<EntityType Name="Depot"><Key><PropertyRef Name="dataAreaId"/><PropertyRef Name="DepotId"/><PropertyRef Name="Line"/></Key>
<Property Name="dataAreaId" Type="Edm.String" Nullable="false"/><Property Name="DepotId" Type="Edm.String" Nullable="false"/>
<Property Name="Line" Type="Edm.Int64" Nullable="false"/><Property Name="Amount" Type="Edm.Decimal" Nullable="false"/>
<Property Name="Opened" Type="Edm.DateTimeOffset" Nullable="false">
<Annotation Term="Microsoft.Dynamics.OData.Core.V1.AXType"><EnumMember>Microsoft.Dynamics.OData.Core.V1.AXType/Date</EnumMember></Annotation>
</Property>
<Property Name="ModifiedDateTime" Type="Edm.DateTimeOffset" Nullable="false">
<Annotation Term="Microsoft.Dynamics.OData.Core.V1.AXType"><EnumMember>Microsoft.Dynamics.OData.Core.V1.AXType/UtcDateTime</EnumMember></Annotation>
</Property></EntityType>
<EntityType Name="Colour"><Key><PropertyRef Name="ColourId"/></Key><Property Name="ColourId" Type="Edm.String" Nullable="false"/>
<Property Name="Name" Type="Edm.String"/></EntityType>
<EntityType Name="LegalEntity"><Key><PropertyRef Name="LegalEntityId"/></Key>
<Property Name="LegalEntityId" Type="Edm.String" Nullable="false"/><Property Name="Name" Type="Edm.String"/></EntityType>
<EntityContainer Name="Resources"><EntitySet Name="Depots" EntityType="Microsoft.Dynamics.DataEntities.Depot"/>
<EntitySet Name="Colours" EntityType="Microsoft.Dynamics.DataEntities.Colour"/>
<EntitySet Name="LegalEntities" EntityType="Microsoft.Dynamics.DataEntities.LegalEntity"/></EntityContainer></Schema>
</edmx:DataServices></edmx:Edmx>"""

KEYS = {
    "Depots": ("dataAreaId", "DepotId", "Line"),
    "Colours": ("ColourId",),
    "LegalEntities": ("LegalEntityId",),
}
COMPANIES = ("aaa", "bbb", "ccc")
_TOKEN = re.compile(r"'(?:[^']|'')*'|[()]|[^\s()']+")
_OPERATORS = {"eq": "==", "ne": "!=", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}


class Refused(Exception):
    """A query that the environment does not take; the argument is the status."""


class StandIn:
    """An environment with some habits; use it as a context manager."""

    def __init__(self, certificate: Path, *habits: str) -> None:
        self.habits = frozenset(habits)
        self.sets: dict[str, list[Row]] = {"Depots": depots(), "Colours": colours()}
        self.sets["LegalEntities"] = [{"LegalEntityId": each.upper(), "Name": each} for each in COMPANIES]
        self.versions = dict.fromkeys(range(1_000_000), 1)
        self.asked: list[str] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.url = f"https://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def __contains__(self, habit: str) -> bool:
        return habit in self.habits

    def config(self, **more: Any) -> dict[str, Any]:
        identity = {
            "tenant_id": "contoso.onmicrosoft.com",
            "client_id": "11111111-1111-1111-1111-111111111111",
        }
        return {"environment_url": self.url, "authority": self.url, **identity, "client_secret": "s", **more}

    def change(self) -> None:
        """Change one row, take one away, and add one."""
        now = f"{datetime.now(timezone.utc) - timedelta(seconds=1):%Y-%m-%dT%H:%M:%SZ}"
        rows = self.sets["Depots"]
        self.versions[rows[5]["#"]] = 77
        rows[5] |= {"Amount": "99.5", "ModifiedDateTime": now}
        del rows[20]
        rows.append(
            {
                **rows[0],
                "#": 999,
                "dataAreaId": "ccc",
                "Line": 4711,
                "ModifiedDateTime": now,
            }
        )

    # -- answers ------------------------------------------------------------------------------------------

    def page(self, entity_set: str, query: dict[str, str], prefer: str) -> dict[str, Any]:
        rows = self._found(entity_set, query)
        asked = int((re.search(r"maxpagesize=(\d+)", prefer) or [0, "10000"])[1])
        size = 7 if "prefer-ignored" in self else min(asked, 5 if "prefer-capped" in self else 10_000)
        start = int(query.get("$skip", query.get("$skiptoken", "0")))
        limit = int(query.get("$top", len(rows)))
        part = rows[start : min(start + size, limit)]
        if "gap-in-the-middle" in self and start == size and "gap" not in query:
            part, size = [], 0
        answer: dict[str, Any] = {"@odata.context": f"{self.url}/data/$metadata#{entity_set}"}
        if "$count" in query and "count-left-out" not in self:
            answer["@odata.count"] = str(len(rows)) if "count-as-text" in self else len(rows)
        answer["value"] = [self._told(entity_set, row, query) for row in part]
        if start + size < min(limit, len(rows)) or ("link-to-nothing" in self and part):
            answer["@odata.nextLink"] = self._link(entity_set, query, start + size, gap=not size)
        return answer

    def _found(self, entity_set: str, query: dict[str, str]) -> list[Row]:
        for habit, option in (("no-count", "$count"), ("no-orderby", "$orderby"), ("no-top", "$top")):
            if habit in self and option in query:
                raise Refused(400)
        rows = [row for row in self.sets[entity_set] if self._holds(query.get("$filter", ""), row)]
        if "cross-company" not in query:
            rows = [row for row in rows if row.get("dataAreaId", "aaa") == "aaa"]
        order = [each.split()[0] for each in query.get("$orderby", "").split(",") if each]
        return sorted(rows, key=lambda row: [self._sortable(row[name]) for name in order or KEYS[entity_set]])

    def _sortable(self, value: Any) -> Any:
        return value.casefold() if isinstance(value, str) and "case-matters" not in self else value

    def _holds(self, text: str, row: Row) -> bool:
        words = _TOKEN.findall(text)
        if ("no-or" in self and "or" in words) or (
            "no-comparison" in self and {"gt", "ge", "lt", "le"} & set(words)
        ):
            raise Refused(400)
        return not words or bool(eval(" ".join(self._python(words, row)), {}, {}))  # words of its own making

    def _python(self, words: Iterable[str], row: Row) -> Iterable[str]:
        for word in words:
            if word.startswith("'"):
                yield repr(self._sortable(unescaped(word)))
            elif word in _OPERATORS:
                yield _OPERATORS[word]
            elif word in ("(", ")", "and", "or", "not"):
                yield word
            elif word in row:
                yield repr(self._sortable(row[word]))
            else:
                yield (
                    repr(self._sortable(word))
                    if re.match(r"\d{4}-", word)
                    else repr(float(word) if "." in word else int(word))
                )

    def _told(self, entity_set: str, row: Row, query: dict[str, str]) -> Row:
        told: Row = {}
        if "no-etag" not in self:
            pair = f"'{self.versions[row['#']]},{5637144576 + row['#']}'" if "#" in row else "'1,1'"
            told["@odata.etag"] = f'W/"{base64.b64encode(pair.encode()).decode()}"'
        names = (
            query.get("$select", "").split(",")
            if "$select" in query and "select-ignored" not in self
            else row
        )
        told |= {name: self._value(name, row[name]) for name in names if name != "#"}
        if "etag-last" in self and "@odata.etag" in told:
            told["@odata.etag"] = told.pop("@odata.etag")
        return told

    def _value(self, name: str, value: Any) -> Any:
        if name == "dataAreaId" and "capitals" in self:
            return value.upper()
        if name == "Opened" and "dates-at-midnight" in self:
            return value.replace("T12:", "T00:")
        if name == "ModifiedDateTime" and "fractions" in self:
            return value.replace("Z", ".000+00:00")
        if name in ("Amount", "Line") and "numbers-as-text" in self:
            return str(value)
        return Digits(value) if name == "Amount" else value

    def _link(self, entity_set: str, query: dict[str, str], start: int, *, gap: bool) -> str:
        kept = {name: value for name, value in query.items() if name not in ("$skip", "$skiptoken", "gap")}
        kept |= {
            "$skiptoken" if "skiptoken" in self else "$skip": str(start),
            **({"gap": "1"} if gap else {}),
        }
        path = f"{entity_set}?{'&'.join(f'{name}={quote(value)}' for name, value in kept.items())}"
        if "link-relative" in self:
            return path
        if "link-from-root" in self:
            return f"/data/{path}"
        return f"{self.url.replace('https:', 'http:') if 'link-http' in self else self.url}/data/{path}"


class Digits(float):
    """A number that is written as it was given."""

    def __new__(cls, text: str) -> Self:
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __repr__(self) -> str:
        return self.text


def depots() -> list[Row]:
    """Return rows by company, some keys of which are awkward."""
    names = ("A", "a b", "O'Neil", "Ärger", "x&y", " lead", "Z#1", "b/c", "50%", "q+r")
    return [
        {
            "#": at,
            "dataAreaId": COMPANIES[at % 3],
            "DepotId": names[at % len(names)],
            "Line": 9_007_199_254_740_993 + at,
            "Amount": f"{at}.10",
            "Opened": "1900-01-01T12:00:00Z" if at % 4 == 0 else f"20{10 + at % 20}-02-03T12:00:00Z",
            "ModifiedDateTime": f"2024-01-{1 + at % 28:02}T10:11:12Z",
        }
        for at in range(60)
    ]


def colours() -> list[Row]:
    return [{"ColourId": f"{at:03}", "Name": "" if at % 2 else "R\u00f6t"} for at in range(23)]


def unescaped(literal: str) -> str:
    return literal[1:-1].replace("''", "'")


def _handler(environment: StandIn) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        wbufsize = 1 << 16  # one packet for head and body: else each answer waits for an acknowledgement
        protocol_version = "HTTP/1.0" if "http-1.0" in environment else "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            claims = base64.urlsafe_b64encode(
                json.dumps({"aud": environment.url, "oid": "o"}).encode()
            ).rstrip(b"=")
            self._send(
                200, {"token_type": "Bearer", "expires_in": 3599, "access_token": f"e30.{claims.decode()}.x"}
            )

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            environment.asked.append(unquote(self.path))
            name = parts.path.removeprefix("/data/").removesuffix("/$count")
            if parts.path.endswith("openid-configuration"):
                there = f"{environment.url}/contoso.onmicrosoft.com/oauth2/v2.0"
                known = {
                    "token_endpoint": f"{there}/token",
                    "authorization_endpoint": there,
                    "issuer": environment.url,
                }
                self._send(200, known)
            elif name == "$metadata":
                self._raw(200, METADATA.encode(), "application/xml")
            elif name not in environment.sets or name in {
                each.partition(":")[2] for each in environment.habits
            }:
                self._send(403 if f"denied:{name}" in environment else 404, {})
            else:
                self._rows(name, parts.query, counts=parts.path.endswith("/$count"))

        def _rows(self, name: str, text: str, *, counts: bool) -> None:
            query = {key: values[-1] for key, values in parse_qs(text, keep_blank_values=True).items()}
            if counts and "no-count" in environment:
                self._send(501, {})
                return
            try:
                if counts:
                    rows = environment._found(name, query)
                    self._raw(200, str(len(rows)).encode(), "text/plain")
                    return
                self._send(200, environment.page(name, query, self.headers.get("Prefer", "")))
            except Refused as exc:
                error = {
                    "code": "",
                    "message": "An error has occurred.",
                    "innererror": {"message": "Not supported."},
                }
                self._send(int(exc.args[0]), {"error": error})

        def _send(self, status: int, document: Any) -> None:
            text = json.dumps(
                document, ensure_ascii="escaped" in environment, indent=2 if "pretty" in environment else None
            )
            is_page = self.path.startswith("/data/")
            body = text.encode("utf-8-sig" if is_page and "bom" in environment else "utf-8")
            self._raw(status, body, "application/json;odata.metadata=minimal;charset=utf-8")

        def _raw(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("content-type", kind)
            if "gzip" in environment:
                body = gzip.compress(body)
                self.send_header("content-encoding", "gzip")
            if "chunked" in environment:
                self.send_header("transfer-encoding", "chunked")
                pieces = [body[at : at + 100] for at in range(0, len(body), 100)]
                body = b"".join(b"%x\r\n%s\r\n" % (len(each), each) for each in pieces) + b"0\r\n\r\n"
            elif "http-1.0" not in environment:
                self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None: ...

    return Handler


Maker = Callable[..., StandIn]
