# SPDX-License-Identifier: Apache-2.0
"""A guard of external members, fed to a telemetry process that really serves."""

from __future__ import annotations

import http.client
import importlib.util
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard.config import load_cards
from edgeguard.intake.sources import Frame
from edgeguard.loop import Timing
from edgeguard.output import as_record
from edgeguard.output.telemetry import Feed, Process, Requests
from edgeguard.output.telemetry.process import Link
from tests.faults.bench import MEMBERS, POLICY, Bench, certain, write_policy


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = importlib.util.find_spec("prometheus_client") is None
    for item in items:
        if missing and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason="needs the extra telemetry"))


TOKEN = "correct-horse-battery"
SURE = {
    "one": 0.98712,
    "two": 0.91357,
    "three": 0.83946,
}  # certainties that nothing else looks like
CAMERA = """
[camera.front]
rate_hz = 10
max_age_ms = 250
"""


def picture() -> np.ndarray:
    """Bytes that nothing else looks like: uint8 [48, 64, 3], BGR."""
    return np.random.default_rng(7).integers(0, 256, (48, 64, 3), np.uint8)


class Shown:
    """A bench whose decisions are fed to a link."""

    def __init__(self, folder: Path, disclosure: str, link: Link, token: str | None = None) -> None:
        text = POLICY + CAMERA + f'\n[telemetry]\ndisclosure = "{disclosure}"\n'
        self.bench = Bench(write_policy(folder, text), operator_token=token)
        self.link, guard = link, self.bench.guard
        self.requests = Requests(link, guard) if token else None
        timing = Timing(10_000_000)
        self.feed = Feed(link, guard, load_cards(guard.config), "front", timing, self.requests)
        self.told: list[dict[str, Any]] = []
        guard.arm()

    def all_is_due(self) -> None:
        """The next tick tells everything."""
        self.feed._next_ns = dict.fromkeys(self.feed._next_ns, 0)

    def run(self, ticks: int, say: str | None = "twenty") -> None:
        """Members answer with certainties of their own, on every tick."""
        for _ in range(ticks):
            if say:
                for name in MEMBERS:
                    self.bench.say(certain(say, SURE[name]), (name,))
            self.feed.saw(Frame(picture(), self.bench.now_ns, (8, 8, 16, 16), {}))
            if self.requests:
                self.requests.serve()
            self.feed.decided(self.bench.tick(), self.bench.now_ns)
            self.told.append(as_record(self.bench.decision, self.bench.now_ns))


@pytest.fixture
def pair() -> Iterator[tuple[Link, socket.socket]]:
    """The deciding end, and what the telemetry process would hold."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    link = Link(ours)
    yield link, theirs
    link.close()
    theirs.close()


HELLO: dict[str, Any] = {
    "policy": "bench", "disclosure": "label", "channels": {"target_speed": "m/s"},
    "controls": {"rearm": True, "takeover": True},
}  # fmt: skip


class Served(Process):
    """A telemetry process on a free port."""

    def __init__(self, **hello: Any) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.host = f"127.0.0.1:{self.port}"
        super().__init__("127.0.0.1", self.port, HELLO | hello)

    def ask(
        self, method: str, path: str, body: Any = None, **headers: str
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """Status, body and headers; headers may be replaced, with _ for -, and "" for none."""
        given = {"Host": self.host} | {k.replace("_", "-"): v for k, v in headers.items()}
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        if method == "POST":
            given = {"Content-Length": str(len(content)), "Origin": f"http://{self.host}",
                     "Content-Type": "application/json"} | given  # fmt: skip
        for name, value in given.items():
            if value:
                connection.putheader(name, value)
        connection.endheaders(content if method == "POST" else None)
        reply = connection.getresponse()
        found = reply.read() if reply.getheader("Content-Length") else b""
        connection.close()
        return reply.status, found, reply.headers

    def event(self) -> dict[str, Any]:
        """The first state that the events show."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as stream:
            stream.sendall(f"GET /events HTTP/1.0\r\nHost: {self.host}\r\n\r\n".encode())
            with stream.makefile("rb") as lines:
                for line in lines:
                    if line.startswith(b"data: "):
                        return json.loads(line[6:])
        raise AssertionError("no event came")


@pytest.fixture
def served() -> Iterator[Served]:
    made = Served()
    yield made
    made.close()


@pytest.fixture(scope="module")
def idle() -> Iterator[Served]:
    """The same for tests in which nothing is decided."""
    made = Served()
    yield made
    made.close()


def meanwhile(shown: Shown, asks: Callable[[], Any]) -> Any:
    """Ask from another thread while the loop ticks; what the question came to."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(asks()))
    thread.start()
    while thread.is_alive():
        shown.run(1, say=None)
        time.sleep(0.002)
    return found[0]
