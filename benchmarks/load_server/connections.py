"""HTTP/1.1 over TLS and plain sockets: a thread for each kept-alive connection, an answer in two sends."""

from __future__ import annotations

import io
import socket
import ssl
import threading
import time
from http import HTTPStatus
from wsgiref.handlers import format_date_time

from benchmarks.load_server.service import Answer, LoadService, Request

_BACKLOG = 128


class Listener:
    """One port on loopback."""

    def __init__(self, service: LoadService, context: ssl.SSLContext | None = None) -> None:
        self._service = service
        self._context = context
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self.port: int = self._socket.getsockname()[1]
        self.url = f"{'https' if context else 'http'}://localhost:{self.port}"

    def start(self) -> None:
        """Accept connections until the process ends."""
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            with connection, connection.makefile("rb") as reader:
                while (request := self._read(reader)) is not None:
                    self._send(connection, self._service.answer(request))
        except (OSError, ValueError):
            return  # the client went away, or does not speak HTTP

    def _read(self, reader: io.BufferedReader) -> Request | None:
        start = reader.readline()
        if not start.strip():
            return None
        method, target, _ = start.decode("latin-1").split()
        headers: dict[str, str] = {}
        while line := reader.readline().strip():
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.strip().lower()] = value.strip()
        body = reader.read(int(headers.get("content-length", 0)))
        return Request(method, target, headers, body, self.url)

    def _send(self, connection: socket.socket, answer: Answer) -> None:
        lines = [
            f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(answer.body)}",
            "OData-Version: 4.0",
            f"Date: {format_date_time(time.time())}",
            *(f"{name}: {value}" for name, value in answer.headers.items()),
        ]
        connection.sendall("\r\n".join([*lines, "\r\n"]).encode("latin-1"))
        connection.sendall(answer.body)
