"""The sandbox on its sockets: TLS on loopback, HTTP/1.1 with keep-alive, a thread for each connection.

A second listener plays the foreign host of a next link; whoever sends a token there is found in `leaks`.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from email.utils import format_datetime
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import TYPE_CHECKING, Any

from tap_d365fo.sandbox import entities
from tap_d365fo.sandbox.certificate import loopback_certificate
from tap_d365fo.sandbox.control import control
from tap_d365fo.sandbox.faults import Fault, Faults
from tap_d365fo.sandbox.front import Front, RequestRecord, Violation
from tap_d365fo.sandbox.reply import Reply, Request, error_envelope, json_reply
from tap_d365fo.sandbox.switches import Switches

if TYPE_CHECKING:
    import ssl
    from datetime import datetime
    from types import TracebackType

    from tap_d365fo.sandbox.dataset import Dataset
    from tap_d365fo.sandbox.entra import TokenRequest

_CHUNK = 16 * 1024
_IDLE_S = 120.0
_TLS_HANDSHAKE = 0x16

Answer = Callable[["_Connection", Request], None]


class Sandbox:
    """An F&O environment and its Entra tenant on loopback; use it as a context manager."""

    def __init__(
        self,
        dataset: Dataset | None = None,
        faults: Faults | Iterable[Fault | str] | None = None,
        switches: Mapping[str, object] | None = None,
        seed: int = 0,
        port: int = 0,
        *,
        scale: float = 1.0,
        clock: Callable[[], datetime] | None = None,
    ) -> None:
        self.dataset = (
            dataset if dataset is not None else entities.built_in(seed=seed, scale=scale, clock=clock)
        )
        self.seed, self.scale = seed, scale
        self.faults = faults if isinstance(faults, Faults) else Faults(faults or (), seed=seed)
        self.switches = switches if isinstance(switches, Switches) else Switches(switches)
        self.started_with = dict(self.switches)
        self.leaks: list[dict[str, str]] = []
        """Requests that carried a token to the foreign host, or over plain HTTP."""
        self.foreign_requests: list[str] = []
        self._certificate = loopback_certificate()
        self._closing = threading.Event()
        self._server = _Server(
            ("127.0.0.1", port), self._serve, self._certificate.server_context(), self.leaks
        )
        self._foreign = _Server(("127.0.0.1", 0), self._leak, self._certificate.server_context(), self.leaks)
        self.url = f"https://localhost:{self._server.port}"
        self.front = Front(self.dataset, self.faults, self.switches, seed=seed, origin=lambda: self.url)
        self.front.foreign_origin = f"https://localhost:{self._foreign.port}"
        self.front.service.foreign_origin = self.front.foreign_origin
        self.clock = self.dataset.clock

    @property
    def clock(self) -> Callable[[], datetime]:
        """The clock of stamps, of the Date header and of Retry-After as a date."""
        return self.dataset.clock

    @clock.setter
    def clock(self, clock: Callable[[], datetime]) -> None:
        self.dataset.clock = self.front.clock = clock

    @property
    def authority(self) -> str:
        """Return the Entra authority, without the tenant."""
        return self.url

    @property
    def tenant_id(self) -> str:
        """Return the tenant."""
        return self.front.entra.identity.tenant_id

    @property
    def client_id(self) -> str:
        """Return the application."""
        return self.front.entra.identity.client_id

    @property
    def client_secret(self) -> str:
        """Return the application's secret; it holds characters that must be encoded."""
        return self.front.entra.identity.client_secret

    @property
    def ca_file(self) -> str:
        """Return the path of the PEM file to trust (REQUESTS_CA_BUNDLE)."""
        return self._certificate.ca_file

    @property
    def foreign_url(self) -> str:
        """Return the origin of the foreign host."""
        return self.front.foreign_origin

    @property
    def requests(self) -> list[RequestRecord]:
        """Return every request so far, those for tokens included."""
        return self.front.requests

    @property
    def token_requests(self) -> list[TokenRequest]:
        """Return every request to the token endpoint that was judged."""
        return self.front.entra.requests

    @property
    def violations(self) -> list[Violation]:
        """Return the requests that came before a Retry-After had passed."""
        return self.front.violations

    @property
    def peak_concurrency(self) -> int:
        """Return how many requests to the environment were in flight at most."""
        return self.front.peak_concurrency

    def config(self, **extra: Any) -> dict[str, Any]:
        """Return settings for the tap."""
        return {
            "environment_url": self.url,
            "tenant_id": self.tenant_id,
            "client_id": self.client_id,
            "client_secret": self.client_secret,
            "authority": self.authority,
            **extra,
        }

    def truth(self, entity_set: str) -> list[dict[str, Any]]:
        """Return the rows of all companies as values: decimals exact, date-times as text."""
        return self.dataset.rows(entity_set)

    def before(self, path: str, call: Callable[[], object], *, nth: int = 1) -> None:
        """Have `call` run before the nth request whose path matches is answered."""
        self.front.before(path, call, nth=nth)

    def revoke_tokens(self) -> None:
        """Make every token given out so far worthless."""
        self.front.entra.revoke()

    def report(self) -> dict[str, Any]:
        """Return what was recorded, in numbers."""
        return {**self.front.report(), "leaks": len(self.leaks)}

    def start(self) -> Sandbox:
        """Begin to answer."""
        for server in (self._server, self._foreign):
            server.is_serving = True
            threading.Thread(target=server.serve_forever, daemon=True).start()
        return self

    def close(self) -> None:
        """Stop, cutting what is under way."""
        self._closing.set()
        for server in (self._server, self._foreign):
            server.stop()

    def __enter__(self) -> Sandbox:  # noqa: PYI034 - Self came with Python 3.11
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self, connection: _Connection, request: Request) -> None:
        if request.path.startswith("/__sandbox__/"):
            connection.send(control(self, request).compressed(connection.accepts), self.clock())
            return
        entered = self.front.entered(request)
        struck = len(self.faults.struck)
        reply = self._answered(request).compressed(connection.accepts)
        if reply.delay_s:
            self._closing.wait(reply.delay_s)
        names = tuple(name for name, path in self.faults.struck[struck:] if path == request.path)
        # Recorded before it is sent: whoever has the answer finds the record.
        self.front.left(request, reply, entered=entered, faults=names)
        connection.send(reply, self.clock())

    def _answered(self, request: Request) -> Reply:
        try:
            return self.front.answer(request)
        except Exception as error:  # noqa: BLE001 - a bug of ours must look like one, not like weather
            return Reply(500, error_envelope("The sandbox failed.", repr(error), "Sandbox"))

    def _leak(self, connection: _Connection, request: Request) -> None:
        self.foreign_requests.append(request.raw_path)
        if "authorization" in request.headers:
            self.leaks.append({"to": request.host, "path": request.path})
        connection.send(json_reply({"value": []}), self.clock())


class _Server(ThreadingMixIn, TCPServer):
    """TLS sockets; the handshake is made in the connection's own thread."""

    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 256

    def __init__(
        self, address: tuple[str, int], answer: Answer, context: ssl.SSLContext, leaks: list[dict[str, str]]
    ) -> None:
        self.answer, self.context, self.leaks = answer, context, leaks
        self.connections: set[socket.socket] = set()
        self.is_serving = False
        super().__init__(address, _Connection)
        self.port = int(self.server_address[1])

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Speak TLS on one connection, then HTTP."""
        request.settimeout(_IDLE_S)
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if request.recv(1, socket.MSG_PEEK) not in (b"", bytes([_TLS_HANDSHAKE])):
                self._note_plain_text(request)
                return
            secured = self.context.wrap_socket(request, server_side=True)
        except OSError:
            return  # the client went away or does not trust us
        self.connections.add(secured)
        try:
            _Connection(secured, client_address, self)
        except OSError:
            pass  # the client went away; there is nobody to tell
        finally:
            self.connections.discard(secured)
            secured.close()

    def _note_plain_text(self, request: socket.socket) -> None:
        head = request.recv(_CHUNK).decode("latin-1")
        if "authorization:" in head.lower():
            self.leaks.append({"to": "plain HTTP", "path": head.split(" ")[1] if " " in head else ""})

    def stop(self) -> None:
        """Stop at once, whether it was started or not."""
        stopping = threading.Thread(target=self.shutdown, daemon=True)
        if self.is_serving:
            stopping.start()
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 1):
                stopping.join()  # the connection wakes it; nobody waits for its next look at the clock
        self.server_close()

    def server_close(self) -> None:
        """Close the listener and every connection."""
        super().server_close()
        for each in list(self.connections):
            with contextlib.suppress(OSError):  # closed from the other side
                each.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are part of the play."""


class _Connection(BaseHTTPRequestHandler):
    """One connection: reads requests, sends replies as they ask to be sent."""

    protocol_version = "HTTP/1.1"
    server: _Server

    @property
    def accepts(self) -> str:
        """Return the encodings that the client takes."""
        return str(self.headers.get("Accept-Encoding", ""))

    def handle_one_request(self) -> None:
        """Answer one request of any method."""
        self.raw_requestline = self.rfile.readline(65537)
        if not self.raw_requestline or not self.parse_request():
            self.close_connection = True
            return
        raw_path, _, raw_query = self.path.partition("?")
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.answer(self, Request(self.command, raw_path, raw_query, headers, body, id(self)))

    def send(self, reply: Reply, now: datetime) -> None:
        """Send a reply as it asks to be sent."""
        if reply.reset:
            self._reset()
        elif reply.cut_at is not None:
            self._send_cut(reply, reply.sent_body, now)
        else:
            self.wfile.write(self._head(reply, now, f"Content-Length: {len(reply.body)}") + reply.body)

    def _send_cut(self, reply: Reply, part: bytes, now: datetime) -> None:
        if reply.chunked:
            head = self._head(reply, now, "Transfer-Encoding: chunked")
            self.wfile.write(head + f"{len(part):x}\r\n".encode() + part + b"\r\n")
        else:
            self.wfile.write(self._head(reply, now, f"Content-Length: {len(reply.body)}") + part)
        self.wfile.flush()
        self.close_connection = True

    def _head(self, reply: Reply, now: datetime, length: str) -> bytes:
        phrase = HTTPStatus(reply.status).phrase
        lines = [f"HTTP/1.1 {reply.status} {phrase}", f"Date: {format_datetime(now, usegmt=True)}"]
        if reply.content_type:
            lines.append(f"Content-Type: {reply.content_type}")
        lines += [f"{name}: {value}" for name, value in reply.headers]
        if reply.status != HTTPStatus.NO_CONTENT:
            lines.append(length)
        return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", errors="replace")

    def _reset(self) -> None:
        # No lingering: the peer sees a reset, not an orderly end.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class says so
        """Log nothing; `Sandbox.requests` is the log."""
