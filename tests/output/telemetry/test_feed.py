# SPDX-License-Identifier: Apache-2.0
"""The deciding process does not depend on the telemetry process: stopped, killed, or gone mad."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgeguard.config.vocabulary import CAUSES
from edgeguard.output.telemetry import Requests
from edgeguard.output.telemetry.process import Link
from tests.faults.bench import Bench, write_policy
from tests.output.telemetry.conftest import TOKEN, Served, Shown

pytestmark = pytest.mark.alone


def test_a_stopped_reader_costs_messages_and_nothing_else(served: Served, tmp_path: Path) -> None:
    shown = Shown(tmp_path, "full", served)
    os.kill(served.pid, signal.SIGSTOP)
    try:
        for _ in range(3000):
            shown.all_is_due()
            shown.run(1)
    finally:
        os.kill(served.pid, signal.SIGCONT)
    assert served.dropped > 0
    assert not served.lost
    assert shown.bench.decision.sequence == 3000
    assert f"telemetry: {served.dropped} messages dropped" in shown.feed.lines()


def test_a_killed_reader_is_a_counter(
    served: Served, pair: tuple[Link, socket.socket], tmp_path: Path
) -> None:
    (tmp_path / "twin").mkdir()
    twin = Shown(tmp_path / "twin", "full", pair[0], token=TOKEN)
    shown = Shown(tmp_path, "full", served, token=TOKEN)
    twin.run(150)
    shown.run(50)
    os.kill(served.pid, signal.SIGKILL)
    served._process.wait()
    for _ in range(100):
        shown.all_is_due()
        shown.run(1)
    assert served.lost
    assert 1 <= served.dropped < 100, "nothing is made for nobody"
    assert shown.told == twin.told
    assert "telemetry process lost" in shown.feed.lines()[0]


PARENT = """
import time
from tests.output.telemetry.conftest import Served
print(Served().pid, flush=True)
time.sleep(3600)
"""


def test_it_does_not_outlive_the_deciding_process() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        handle = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
    ended, _, _ = select.select([handle], [], [], 60.0)
    os.close(handle)
    assert ended


def test_a_change_that_was_dropped_is_told_later(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.setblocking(False)
    link = Link(ours)
    shown = Shown(tmp_path, "label", link)
    shown.run(50)
    while link.send(b"X", bytes(1000)):
        pass
    shown.bench.signals = {}
    shown.run(20, say=None)
    assert shown.bench.decision.mode.name == "SAFE_STOP"
    try:
        while theirs.recv(1 << 20):
            pass
    except BlockingIOError:
        pass
    shown.feed._next_ns = dict.fromkeys(shown.feed._next_ns, 1 << 62)  # nothing but changes is due
    shown.run(1, say=None)
    assert b'"SAFE_STOP"' in theirs.recv(1 << 20)
    link.close()
    theirs.close()


MESSAGES = st.one_of(
    st.binary(min_size=1, max_size=1500),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.dictionaries(
            st.sampled_from(["do", "token", "id", "x"]), inner | st.just("rearm")
        ),
    ).map(lambda value: str.encode(json.dumps(value))),
)


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(messages=st.lists(MESSAGES, max_size=5))
def test_whatever_the_telemetry_process_sends_arms_nothing(
    messages: list[bytes], tmp_path_factory: object
) -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    link = Link(ours)
    requests = Requests(link, _bench(tmp_path_factory).guard)
    for message in messages:
        theirs.send(message)
        requests.serve()
    assert requests.counts["rearm done"] == requests.counts["takeover done"] == 0
    link.close()
    theirs.close()


_made: list[Bench] = []


def _bench(tmp_path_factory: object) -> Bench:
    if not _made:
        folder = tmp_path_factory.mktemp("bench")  # type: ignore[attr-defined]
        _made.append(Bench(write_policy(folder), operator_token=TOKEN))
    return _made[0]


def test_metrics_are_those_of_the_decisions(served: Served, tmp_path: Path) -> None:
    shown = Shown(tmp_path, "full", served)
    shown.run(100)
    shown.bench.signals = {}
    shown.all_is_due()
    shown.run(20)
    shown.all_is_due()
    shown.run(1)
    while served.event()["sequence"] < 121:
        pass
    from prometheus_client.parser import text_string_to_metric_families

    _, body, headers = served.ask("GET", "/metrics")
    assert headers["Content-Type"].startswith("text/plain")
    found = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }
    decision = shown.bench.decision
    assert found["edgeguard_mode", "SAFE_STOP"] == 1
    assert found["edgeguard_mode", "NOMINAL"] == 0
    acts = {cause for cause in CAUSES if found["edgeguard_cause_active", cause]}
    assert acts == set(decision.causes)
    assert sum(v for k, v in found.items() if k[0] == "edgeguard_decisions_total") == 121
    assert found["edgeguard_command", "target_speed"] == decision.command["target_speed"]
    assert found["edgeguard_voters", "target_speed"] == 3
    assert ("edgeguard_member_certainty", "one") in found
    assert found["edgeguard_dropped_total",] == served.dropped
