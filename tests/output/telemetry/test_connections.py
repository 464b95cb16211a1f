# SPDX-License-Identifier: Apache-2.0
"""Who connects and says nothing, and how it ends."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import threading

import pytest

from tests.output.telemetry.conftest import TOKEN, Served

pytestmark = pytest.mark.alone


def test_who_asks_slowly_keeps_nobody_out(served: Served) -> None:
    from edgeguard.output.telemetry.server import MOST_CONNECTIONS

    with contextlib.ExitStack() as opened:
        for _ in range(MOST_CONNECTIONS):
            slow = socket.create_connection(("127.0.0.1", served.port), 20)
            opened.enter_context(slow).sendall(b"G")
        assert served.ask("GET", "/metrics")[0] == 200
        assert served.ask("POST", "/takeover", {"token": 3})[0] == 400


def test_a_request_that_comes_byte_by_byte_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgeguard.output.telemetry import server
    from edgeguard.output.telemetry.board import Board

    monkeypatch.setattr(server, "SLOW_S", 0.2)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made = server.Server(Board(ours), "127.0.0.1", 0)
    serving = threading.Thread(target=made.serve_forever, args=(0.02,))
    serving.start()
    ended = False
    with socket.create_connection(made.server_address[:2], 20) as slow:
        for _ in range(1000):
            with contextlib.suppress(OSError):
                slow.sendall(b"G")
            ended = bool(select.select([slow], [], [], 0.02)[0])
            if ended:
                break
    made.shutdown()
    made.server_close()
    serving.join()
    ours.close()
    theirs.close()
    assert ended


def test_it_ends_in_order_though_somebody_still_asks() -> None:
    """Its own words would not tell: it writes to no file."""
    served = Served()
    body = json.dumps({"token": TOKEN})
    request = (
        f"POST /takeover HTTP/1.0\r\nHost: {served.host}\r\nOrigin: http://{served.host}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    with socket.create_connection(("127.0.0.1", served.port), 20) as asker:
        asker.sendall(request.encode())
        assert select.select([served._socket], [], [], 20)[0], "the request came"
        served.close()
    assert served._process.returncode == 0
