"""What goes over the wire: a request as it came, a reply, and the bodies of errors as F&O words them."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from tap_d365fo.sandbox.query import read_options

if TYPE_CHECKING:
    from collections.abc import Mapping

JSON_MINIMAL = "application/json; odata.metadata=minimal"
P3P = ("P3P", 'CP="No P3P policy defined. Read the privacy statement of the service."')

_COMPRESS_FROM = 1024


@dataclass(frozen=True, slots=True)
class Request:
    """One request. Header names are lower case; `path` is decoded, `raw_path` is not."""

    method: str
    raw_path: str
    raw_query: str
    headers: Mapping[str, str]
    body: bytes = b""
    connection: int = 0
    """Tells the requests of one connection from those of others."""

    @property
    def target(self) -> str:
        """Return path and query as they came."""
        return f"{self.raw_path}?{self.raw_query}"

    @property
    def path(self) -> str:
        """Return the path with its percent escapes read."""
        return unquote(self.raw_path)

    @property
    def options(self) -> dict[str, str]:
        """Return the query string's parameters; the last of a name counts."""
        return read_options(self.raw_query)

    @property
    def bearer(self) -> str | None:
        """Return the bearer token, or None where nothing of the kind was sent."""
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if scheme.lower() == "bearer" else None

    @property
    def host(self) -> str:
        """Return the Host header."""
        return self.headers.get("host", "")

    def json(self) -> Any:
        """Return the body as JSON; an empty body is an empty object."""
        return json.loads(self.body or b"{}")


@dataclass(frozen=True, slots=True)
class Reply:
    """One answer, and how it is to be sent."""

    status: int
    body: bytes = b""
    content_type: str | None = JSON_MINIMAL
    headers: tuple[tuple[str, str], ...] = ()
    may_compress: bool = True
    packed: bytes | None = None
    """The body as gzip, where somebody has it already."""
    delay_s: float = 0.0
    """Wait before the first byte."""
    cut_at: float | None = None
    """Share of the body after which the connection ends."""
    chunked: bool = False
    """Send in chunks rather than with a length."""
    reset: bool = False
    """Reset the connection in place of an answer."""

    @property
    def sent_body(self) -> bytes:
        """Return the part of the body that goes out."""
        if self.reset:
            return b""
        return self.body if self.cut_at is None else self.body[: int(len(self.body) * self.cut_at)]

    def compressed(self, accept_encoding: str) -> Reply:
        """Return the reply as gzip, where the client takes it and it pays."""
        if not self.may_compress or len(self.body) < _COMPRESS_FROM or "gzip" not in accept_encoding:
            return self
        packed = self.packed or gzip.compress(self.body, compresslevel=1, mtime=0)
        return replace(self, body=packed, headers=(*self.headers, ("Content-Encoding", "gzip")))

    def with_header(self, name: str, value: str) -> Reply:
        """Return the reply with one more header."""
        return replace(self, headers=(*self.headers, (name, value)))


class Refusal(Exception):
    """Raised anywhere below the server to answer with an error."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(reply.status)


def json_reply(value: Any, *, status: int = 200, content_type: str = JSON_MINIMAL) -> Reply:
    """Return a value as a JSON answer."""
    return Reply(status, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode(), content_type)


def error_envelope(
    message: str, inner: str | None = None, error_type: str = "Microsoft.OData.ODataException"
) -> bytes:
    """Return F&O's error envelope; with `inner` it says the cause there, with a stack trace."""
    error: dict[str, Any] = {"code": "", "message": message}
    if inner is not None:
        trace = (
            "   at Microsoft.Dynamics.Platform.Integration.Services.OData.ODataController.Get()\r\n"
            "   at System.Web.Http.Controllers.ApiControllerActionInvoker.InvokeActionAsync()"
        )
        error["innererror"] = {"message": inner, "type": error_type, "stacktrace": trace}
    return json.dumps({"error": error}, ensure_ascii=False, separators=(",", ":")).encode()


def bad_query(text: str, *, inner_only: bool = False) -> Reply:
    """Return the 400 for a query that cannot be answered."""
    shown = "An error has occurred." if inner_only else f"The query specified in the URI is not valid. {text}"
    return Reply(400, error_envelope(shown, text))


def html_page(title: str, text: str) -> bytes:
    """Return a gateway's page."""
    return (
        f"<!DOCTYPE html>\r\n<html><head><title>{title}</title></head>\r\n"
        f"<body><center><h1>{title}</h1></center><p>{text}</p><hr><center>Sandbox-Gateway/v2</center></body></html>"
    ).encode()


def gateway_error(status: int, title: str) -> Reply:
    """Return what a gateway says for itself, as HTML."""
    return Reply(status, html_page(f"{status} {title}", ""), "text/html")


def query_too_long(form: str) -> Reply:
    """Return a gateway's refusal of a query string's length."""
    if form == "414":
        return Reply(414, html_page("Request-URI Too Long", "HTTP Error 414."), "text/html; charset=us-ascii")
    if form == "400":
        return Reply(
            400,
            html_page("Bad Request", "HTTP Error 400. The request URL is invalid."),
            "text/html; charset=us-ascii",
        )
    text = (
        "HTTP Error 404.15 - Not Found. The request filtering module is configured to deny a request "
        "where the query string is too long."
    )
    return Reply(404, html_page("404 - File or directory not found.", text), "text/html")


UNAUTHORIZED = Reply(401, b"", None, (P3P,))
