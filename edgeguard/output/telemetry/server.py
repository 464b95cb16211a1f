# SPDX-License-Identifier: Apache-2.0
"""The page, its events and the metrics over HTTP. Nothing is loaded from anywhere else."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ipaddress
import json
import re
import resource
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from edgeguard import _isolation
from edgeguard.output.telemetry.board import Board
from edgeguard.output.telemetry.metrics import Metrics
from edgeguard.output.telemetry.process import MOST_REQUEST

MOST_CONNECTIONS = 16
MOST_STREAMS = 12  # of them: pages that are left open must not keep the operator out
AGAIN_MS = 500  # after which a page that was let go asks again: before it says it hears nothing
SLOW_S = 10.0  # who takes longer to ask, or to take an answer, is let go
ROOM_S = 1.0  # within which one that was let go is gone
IDLE_S = 1.0  # without news the events say that they are still there


class Connections:
    """Oldest first, so that the oldest can make room. For any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._since_s: dict[socket.socket, float] = {}

    def add(self, connection: socket.socket) -> None:
        """The newest one."""
        with self._lock:
            self._since_s[connection] = time.monotonic()

    def remove(self, connection: socket.socket) -> None:
        """It has ended, or does not belong here any more."""
        with self._lock:
            self._since_s.pop(connection, None)

    def __contains__(self, connection: socket.socket) -> bool:
        with self._lock:
            return connection in self._since_s

    def let_go(self, slower_than_s: float = 0.0) -> bool:
        """End the oldest, when it has been here for longer; False when there is no such."""
        with self._lock:
            for connection, since_s in self._since_s.items():
                if time.monotonic() - since_s < slower_than_s:
                    return False
                del self._since_s[connection]
                with contextlib.suppress(OSError):  # its other end has gone
                    connection.shutdown(socket.SHUT_RDWR)
                return True
        return False


class Server(ThreadingHTTPServer):
    """So many connections and no more: each has a thread."""

    daemon_threads = True

    def __init__(self, board: Board, host: str, port: int) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.board, self.named = board, host
        self.registry = CollectorRegistry()
        self.registry.register(Metrics(board))
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._streams = threading.BoundedSemaphore(MOST_STREAMS)
        self.unasked = Connections()
        """Who has not said yet what he wants: he must not keep the operator out."""
        self.pages = Connections()  # that hear the events
        super().__init__((host, port), Handler)

    def server_bind(self) -> None:
        """Without asking anybody for our name, which may take seconds."""
        TCPServer.server_bind(self)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._room():
            self.unasked.add(request)
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def _room(self) -> bool:
        if self._free.acquire(blocking=False):
            return True
        return self.unasked.let_go() and self._free.acquire(timeout=ROOM_S)

    @contextlib.contextmanager
    def hearing(self, connection: socket.socket) -> Iterator[None]:
        """As one of the pages that hear the events. One too many takes the place of the oldest,
        which asks again by itself: whoever opens a page now wants to see it."""
        wait_s = 0.0
        while not self._streams.acquire(timeout=wait_s):
            self.pages.let_go()
            self.board.wake()
            wait_s = ROOM_S
        self.pages.add(connection)
        try:
            yield
        finally:
            self.pages.remove(connection)
            self._streams.release()

    def service_actions(self) -> None:
        while self.unasked.let_go(SLOW_S):
            pass

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.unasked.remove(request)
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Readers come and go."""


class Handler(BaseHTTPRequestHandler):
    """One request a connection."""

    server: Server
    timeout = SLOW_S
    server_version, sys_version = "edgeguard", ""

    def do_GET(self) -> None:
        """/, /events, /frame.png, /part.png, /metrics."""
        self.server.unasked.remove(self.connection)
        path = urlsplit(self.path).path
        board = self.server.board
        if not self._expected():
            return
        if path == "/":
            self._answer(HTTPStatus.OK, "text/html; charset=utf-8", page())
        elif path == "/events":
            self._events(board)
        elif path == "/metrics":
            self._answer(HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(self.server.registry))
        elif path in ("/frame.png", "/part.png") and board.picture(path == "/part.png"):
            self._answer(HTTPStatus.OK, "image/png", board.picture(path == "/part.png"))
        elif path in ("/rearm", "/takeover"):
            self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "POST only")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "nothing here")

    def do_POST(self) -> None:
        """/rearm and /takeover with {"token": "..."}; {"answer": null} when it was done, else why
        not."""
        if not self._expected():
            return
        if self.headers.get("Origin") != f"http://{self.headers.get('Host')}":
            return self._refuse(HTTPStatus.FORBIDDEN, "Origin: is not this page")
        what = self.path[1:]
        if not self.server.board.hello.get("controls", {}).get(what):
            return self._refuse(HTTPStatus.NOT_FOUND, "not offered here")
        token = self._token()
        self.server.unasked.remove(self.connection)
        if token is None:
            return self._refuse(HTTPStatus.BAD_REQUEST, 'want {"token": "..."} as application/json')
        answer = json.dumps({"answer": self.server.board.ask(what, token)})
        self._answer(HTTPStatus.OK, "application/json", answer.encode())

    def _token(self) -> str | None:
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"\d{1,4}", length):
            return None
        body = self.rfile.read(int(length))  # also what is refused: else the answer may get lost
        if len(body) > MOST_REQUEST or self.headers.get("Content-Type") != "application/json":
            return None
        try:
            given = json.loads(body)
        except (ValueError, RecursionError):
            return None
        token = given.get("token") if isinstance(given, dict) else None
        return token if isinstance(token, str) else None

    def _expected(self) -> bool:
        """Whether the request names this server as a person would: by an address, `localhost` or
        the configured name. A page elsewhere whose name was made to lead here cannot (DNS
        rebinding)."""
        given = self.headers.get_all("Host") or [""]
        if len(given) == 1 and _is_ours(given[0], self.server.named):
            return True
        self._refuse(HTTPStatus.FORBIDDEN, "Host: is not this server")
        return False

    def _events(self, board: Board) -> None:
        with self.server.hearing(self.connection):
            self._stream(board, lambda: self.connection in self.server.pages)

    def _stream(self, board: Board, wanted: Callable[[], bool]) -> None:
        self._head(HTTPStatus.OK, "text/event-stream")
        self.wfile.write(b"retry: %d\n\n" % AGAIN_MS)
        seen = 0
        while wanted() and not board.ended:
            event = board.event(seen, IDLE_S, wanted)
            if event is None:
                self.wfile.write(b": still here\n\n")
            else:
                seen, state = event
                self.wfile.write(b"data: " + state + b"\n\n")

    def _refuse(self, status: HTTPStatus, why: str) -> None:
        self._answer(status, "text/plain; charset=utf-8", f"{why}\n".encode())

    def _answer(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self._head(status, kind, len(body))
        self.wfile.write(body)

    def _head(self, status: HTTPStatus, kind: str, length: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in _HEADERS:
            self.send_header(name, value)
        self.send_header("Content-Security-Policy", policy())
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """What somebody asked for is in no log: the deciding process logs what it was told."""


_HEADERS = (
    ("Cache-Control", "no-store"),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)


@cache
def page() -> bytes:
    """The page, as it is in the package."""
    return files("edgeguard.output.telemetry").joinpath("page.html").read_bytes()


@cache
def policy() -> str:
    """Only the script and the style that stand in the page, and nobody may frame it."""
    rules = ["default-src 'none'", "img-src 'self' data:", "connect-src 'self'", "base-uri 'none'",
             "form-action 'none'", "frame-ancestors 'none'"]  # fmt: skip
    for kind in ("script", "style"):
        content = re.search(rb"<%b>(.*?)</%b>" % ((kind.encode(),) * 2), page(), re.DOTALL)
        assert content is not None
        digest = base64.b64encode(hashlib.sha256(content[1]).digest()).decode()
        rules.append(f"{kind}-src 'sha256-{digest}'")
    return "; ".join(rules)


def _is_ours(host: str, named: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in ("localhost", named.lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def confine() -> Iterator[str]:
    """Give up what is not needed once the address is bound and the page is read: every file, new
    programs, new rights. Yields what this kernel cannot take, in words, while stderr may still be a
    file."""
    steps: tuple[tuple[str, Callable[[], None]], ...] = (
        ("no core files", lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0))),
        ("capabilities", _isolation.drop_capabilities),
        ("no new privileges", _isolation.no_new_privileges),
        ("Landlock", lambda: _isolation.landlock([], [])),
        ("no files", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))),
    )
    for name, step in steps:
        try:
            step()
        except (OSError, ValueError) as error:
            yield f"{name}: {error}"


def serve(board: Board, host: str, port: int, ready: Callable[[], object]) -> None:
    """Serve until the deciding process ends. Raises OSError when the address is not to be had."""
    server = Server(board, host, port)
    policy()  # reads the page
    for lacking in confine():
        print(f"telemetry process: {lacking}", file=sys.stderr, flush=True)
    ready()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    board.receive()
