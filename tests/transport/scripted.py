"""A small TLS server that answers by script, a clock that moves only when somebody waits, and a certificate."""

from __future__ import annotations

import base64
import gzip
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

NOON = datetime(2026, 1, 15, 12, tzinfo=timezone.utc)
TENANT = "contoso.onmicrosoft.com"
SECRET = "s3cr3t~value/of+the~application"
TOKEN_PATH = f"/{TENANT}/oauth2/v2.0/token"
OPENID_PATH = f"/{TENANT}/v2.0/.well-known/openid-configuration"


class FakeClock:
    """Waits take no time, but the clock then shows that they did. Waits without an end are real."""

    def __init__(self) -> None:
        self._now = 1000.0
        self._lock = threading.Lock()
        self.waits: list[float] = []
        self.socket_seconds = 20.0

    def monotonic(self) -> float:
        return self._now

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self._now - 1000.0)

    def wait(self, condition: threading.Condition, seconds: float | None) -> None:
        if seconds is None:
            condition.wait(20)
            return
        self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        with self._lock:
            self.waits.append(seconds)
            self._now += seconds

    def timeout(self, seconds: float) -> float:
        return min(seconds, self.socket_seconds)


class FixedRandom:
    """Jitter that is always the longest wait."""

    def random(self) -> float:
        return 1.0


@dataclass
class Reply:
    """One scripted answer. `sent` bytes of the body are sent, then the connection ends; None sends all."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    sent: int | None = None
    is_chunked: bool = False
    is_gzip: bool = False
    is_reset: bool = False
    has_length: bool = True
    before: Callable[[], Any] | None = None
    """Called before anything is answered: tests block or move the clock here."""
    during: Callable[[], Any] | None = None
    """Called after the first byte of the body."""


def reply_json(document: Any, status: int = 200, **kwargs: Any) -> Reply:
    headers = {"Content-Type": "application/json; odata.metadata=minimal", **kwargs.pop("headers", {})}
    return Reply(status, json.dumps(document).encode(), headers, **kwargs)


def reply_html(
    status: int = 200, text: str = "<!DOCTYPE html><html><body>Sorry</body></html>", **headers: str
) -> Reply:
    return Reply(status, text.encode(), {"Content-Type": "text/html; charset=utf-8", **headers})


def reply_error(
    status: int, inner: str | None = None, *, headers: Mapping[str, str] | None = None, **kwargs: Any
) -> Reply:
    error: dict[str, Any] = {"code": "", "message": "An error has occurred."}
    if inner is not None:
        trace = "   at Microsoft.Dynamics.Secret.Method()\r\n   at System.Web"
        error["innererror"] = {
            "message": inner,
            "type": "System.InvalidOperationException",
            "stacktrace": trace,
        }
    return reply_json({"error": error}, status, headers=headers or {}, **kwargs)


def reply_entra_error(
    code: int, error: str, text: str = "Refused.", status: int = 400, **extra: Any
) -> Reply:
    described = (
        f"AADSTS{code}: {text} Trace ID: 4d-trace Correlation ID: 8a-corr Timestamp: 2026-01-15 10:00:00Z"
    )
    return reply_json(
        {
            "error": error,
            "error_description": described,
            "error_codes": [code],
            "trace_id": "4d-trace",
            "correlation_id": "8a-corr",
            **extra,
        },
        status,
    )


def token_text(number: int = 1, **claims: Any) -> str:
    def part(value: Any) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'none'})}.{part({'n': number, **claims})}.c2lnbmF0dXJlLW9mLXRva2Vu{number}"


def reply_token(number: int = 1, *, lifetime: Any = 3599, **claims: Any) -> Reply:
    token = {"token_type": "Bearer", "expires_in": lifetime, "access_token": token_text(number, **claims)}
    return reply_json({name: value for name, value in token.items() if value is not None})


@dataclass
class Received:
    """One request as it arrived, and when by the clock of the test."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float

    @property
    def form(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(self.body.decode()).items()}


class ScriptedServer:
    """Answers each path by its script: in order, and the last answer from then on."""

    def __init__(self, certificate: Path, clock: FakeClock, host: str = "127.0.0.1") -> None:
        self.clock = clock
        self.received: list[Received] = []
        self.connections = 0
        self._scripts: dict[str, list[Reply | Callable[[Received], Reply]]] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # clients that go away are part of the tests
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._context = context
        self.host = host
        self.port = self._server.server_address[1]
        self.url = f"https://{host}:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def script(self, path: str, *replies: Reply | Callable[[Received], Reply]) -> None:
        with self._lock:
            self._scripts[path] = list(replies)

    def entra(self, *replies: Reply | Callable[[Received], Reply]) -> None:
        """Answer as Entra does for the tenant of the tests; without replies with tokens numbered from 1."""
        base = f"{self.url}/{TENANT}"
        self.script(
            OPENID_PATH,
            reply_json(
                {
                    "issuer": f"{base}/v2.0",
                    "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                    "token_endpoint": f"{base}/oauth2/v2.0/token",
                }
            ),
        )
        self.script(TOKEN_PATH, *(replies or (reply_token(each) for each in range(1, 50))))

    def to(self, prefix: str) -> list[Received]:
        with self._lock:
            return [each for each in self.received if each.path.startswith(prefix)]

    def next_reply(self, request: Received) -> Reply:
        with self._lock:
            self.received.append(request)
            script = self._scripts.get(urlsplit(request.path).path)
            if script is None:
                return reply_error(404)
            reply = script.pop(0) if len(script) > 1 else script[0]
        return reply(request) if callable(reply) else reply

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    def _handler(server: ScriptedServer) -> type[BaseHTTPRequestHandler]:  # noqa: N805
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                self.request.settimeout(20)
                self.request = server._context.wrap_socket(self.request, server_side=True)
                with server._lock:
                    server.connections += 1
                super().setup()

            def handle(self) -> None:
                with suppress(OSError):
                    super().handle()

            def _answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                headers = {name.lower(): value for name, value in self.headers.items()}
                body = self.rfile.read(length)
                received = Received(self.command, self.path, headers, body, server.clock.monotonic())
                self._send(server.next_reply(received))

            do_GET = do_POST = _answer  # noqa: N815

            def _send(self, reply: Reply) -> None:
                if reply.before is not None:
                    reply.before()
                if reply.is_reset:
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                body = gzip.compress(reply.body) if reply.is_gzip else reply.body
                self.send_response(reply.status)
                for name, value in {"Date": "Thu, 15 Jan 2026 12:00:00 GMT", **reply.headers}.items():
                    self.send_header(name, value)
                if reply.is_gzip:
                    self.send_header("Content-Encoding", "gzip")
                if reply.is_chunked:
                    self.send_header("Transfer-Encoding", "chunked")
                elif reply.has_length:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                sent = body if reply.sent is None else body[: reply.sent]
                pieces = [sent[:1], sent[1:]]
                for number, piece in enumerate(each for each in pieces if each):
                    self.wfile.write(
                        f"{len(piece):x}\r\n".encode() + piece + b"\r\n" if reply.is_chunked else piece
                    )
                    self.wfile.flush()
                    if number == 0 and reply.during is not None:
                        reply.during()
                if reply.is_chunked and reply.sent is None:
                    self.wfile.write(b"0\r\n\r\n")
                if reply.sent is not None or not (reply.has_length or reply.is_chunked):
                    self.close_connection = True

            def log_request(self, *_args: Any) -> None:
                pass

            def send_response(self, code: int, message: str | None = None) -> None:
                self.send_response_only(code, message)

            def log_message(self, *_args: Any) -> None:
                pass

        return Handler


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def new_certificate(
    key: rsa.RSAPrivateKey, *, names: tuple[str, ...] = (), days: int = 2, name: str = "test"
) -> x509.Certificate:
    """Return a self-signed certificate; `days` counts from today and may be negative."""
    today = datetime.now(timezone.utc)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    end = today + timedelta(days=days)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=100))
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    )
    if names:
        shown: list[x509.GeneralName] = [
            x509.IPAddress(ip_address(each)) if each[0].isdigit() else x509.DNSName(each) for each in names
        ]
        builder = builder.add_extension(x509.SubjectAlternativeName(shown), critical=False)
    return builder.sign(key, hashes.SHA256())


def pem_of(key: rsa.RSAPrivateKey, *certificates: x509.Certificate, password: bytes | None = None) -> bytes:
    encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    return private + b"".join(each.public_bytes(serialization.Encoding.PEM) for each in certificates)
