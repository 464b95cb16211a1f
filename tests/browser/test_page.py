# SPDX-License-Identifier: Apache-2.0
"""The page as a person sees it: a real run, a real browser."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.conftest import TOKEN, Looking, Run, wait_until
from tests.output.telemetry.conftest import Served, Shown

expect = pytest.importorskip("playwright.sync_api", reason="playwright is in the extra dev").expect
pytest.importorskip("prometheus_client", reason="the page needs the extra telemetry")

pytestmark = pytest.mark.alone

KEEP = os.environ.get("EDGEGUARD_KEEP_PICTURES")  # a folder; docs/telemetry.png was made with it
LATEST_MS = 500.0
TOO_WIDE = """() => [document.documentElement, ...document.querySelectorAll("section")]
    .filter(s => s.scrollWidth > s.clientWidth)
    .map(s => [s.clientWidth, s.scrollWidth, s.innerText.slice(0, 300)])"""

LATE_BY_SECONDS = """() => {
    const worst = { p50: 1.234e9, p99: 88.88e6, "p99.9": 12.34e9, max_ns: 888.8e9 };
    const slow = { ...last.timing.decision, ...worst };
    latency({ ...last.timing, decision: slow, tick: slow, late: slow });
    return timing.innerText;
}"""


def kill_a_member(run: Run) -> None:
    """The worker of the first member; the guard starts another one."""
    workers = [pid for pid, line in run.children().items() if "telemetry" not in line]
    os.kill(min(workers), signal.SIGKILL)


def delays_ms(looking: Looking) -> list[float]:
    """From decision to screen, as the page measured it by the stamps of its events; the state that
    it found when it was opened is no change."""
    found = "changes.slice(0, -1).filter(c => c.delay !== null).map(c => c.delay)"
    return looking.page.evaluate(found)


def everything(run: Run) -> bytes:
    """All that the server says: events of two seconds, metrics, and what it answers for frames."""
    said = b""
    for path in ("metrics", "frame.png", "part.png"):
        try:
            with urllib.request.urlopen(run.url + path, timeout=20) as reply:
                said += reply.read()
        except urllib.error.HTTPError as refused:
            said += refused.read()
    with urllib.request.urlopen(run.url + "events", timeout=20) as events:
        end = time.monotonic() + 2.0
        while time.monotonic() < end:
            said += events.readline()
    return said


def test_everything_is_shown_in_full(full: Run, looking: Looking) -> None:
    page = looking.page
    page.goto(full.url)
    expect(page.locator("#mode")).to_have_text("NOMINAL", timeout=60_000)
    expect(page.locator("#news")).to_have_text("live · disclosure: full")
    for member in ("plain", "compact", "robust"):
        expect(page.locator("#members")).to_contain_text(member)
    expect(page.locator("#members th").nth(3)).to_have_text("certainty")
    for picture in ("#scene", "#part"):
        expect(page.locator(picture)).not_to_have_js_property("naturalWidth", 0)
    expect(page.locator("#timing")).to_contain_text("late by")
    expect(page.locator("#risk")).to_have_text("not configured")

    kill_a_member(full)
    expect(page.locator("#causes")).to_contain_text("MEMBER_LOST", timeout=10_000)
    expect(page.locator("#changes")).to_contain_text("MEMBER_LOST")
    expect(page.locator("#causes")).not_to_contain_text("MEMBER_LOST", timeout=30_000)

    page.locator("#token").fill("wrong-token-wrong")
    page.locator("#rearm").click()
    expect(page.locator("#answer")).to_have_text("rearm: wrong operator token")
    page.locator("#token").fill(TOKEN)
    page.locator("#rearm").click()
    expect(page.locator("#answer")).to_have_text("rearm: not at standstill")
    assert page.evaluate(TOO_WIDE) == []
    if KEEP:
        page.set_viewport_size({"width": 1100, "height": 700})
        page.wait_for_timeout(1500)
        page.screenshot(path=Path(KEEP) / "telemetry.png", full_page=True)
        page.set_viewport_size({"width": 390, "height": 844})
    page.locator("#takeover").click()
    expect(page.locator("#answer")).to_have_text("takeover: done")

    assert page.evaluate(TOO_WIDE) == []
    page.set_viewport_size({"width": 1100, "height": 700})
    assert page.evaluate(TOO_WIDE) == []
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate(f"() => [({LATE_BY_SECONDS})(), ({TOO_WIDE})()]")[1] == []
    found = delays_ms(looking)
    assert len(found) >= 2
    assert max(found) <= LATEST_MS, found
    assert looking.errors == []
    assert "operator: takeover: done" in full.end()
    expect(page.locator("#mode")).to_have_text("unknown", timeout=10_000)


def test_label_mode_shows_answers_and_nothing_more(label: Run, looking: Looking) -> None:
    page = looking.page
    page.goto(label.url)
    expect(page.locator("#mode")).to_have_text("NOMINAL", timeout=60_000)
    expect(page.locator("#news")).to_have_text("live · disclosure: label")
    expect(page.locator("#members")).to_contain_text("Speed limit", timeout=30_000)
    expect(page.locator("body")).not_to_contain_text("certainty")
    expect(page.locator("#frame")).to_be_hidden()
    assert page.evaluate(TOO_WIDE) == []
    kill_a_member(label)
    expect(page.locator("#causes")).to_contain_text("MEMBER_LOST", timeout=10_000)
    page.wait_for_timeout(500)
    assert max(delays_ms(looking)) <= LATEST_MS
    assert looking.errors == []

    said = everything(label)
    label.end()
    decisions = map(json.loads, (label.folder / "out.jsonl").read_text().splitlines())
    sure = {str(d["evidence"]["target_speed"]["certainty"]) for d in decisions}
    telling = {number.encode() for number in sure if len(number) > 6}
    assert len(telling) >= 3  # certainties that are like nothing else
    assert not [number for number in telling if number in said]
    for word in (b"certainty", b"margin", b"entropy", b"energy", b"PNG", b"value"):
        assert word not in said
    assert b'"label": "Speed limit' in said


@pytest.fixture
def served() -> Iterator[Served]:
    """A telemetry process whose guard is this test."""
    made = Served()
    yield made
    made.close()


SHOWN = """window.shown = [];
    document.addEventListener("DOMContentLoaded", () => new MutationObserver(() =>
        shown.push(mode.textContent)).observe(mode, { childList: true, characterData: true }));"""


def age_s(served: Served) -> float:
    metrics = served.ask("GET", "/metrics")[1].decode()
    found = re.search(r"^edgeguard_snapshot_age_seconds (\S+)$", metrics, re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_a_state_that_was_old_when_it_came_is_not_shown_as_live(
    served: Served, looking: Looking, tmp_path: Path
) -> None:
    """The guard hangs; the process that serves still knows its last word."""
    guard = Shown(tmp_path, "label", served)
    guard.all_is_due()
    guard.run(1)
    page = looking.page
    page.add_init_script(SHOWN)
    page.goto(f"http://{served.host}/")
    expect(page.locator("#news")).to_have_text("live · disclosure: label")
    expect(page.locator("#mode")).to_have_text("FALLBACK")
    expect(page.locator("#changes")).to_contain_text("FALLBACK")

    wait_until(lambda: age_s(served) > 2.5)
    page.reload()
    expect(page.locator("#policy")).to_have_text("bench")  # it came
    expect(page.locator("#news")).to_contain_text("no word from the guard for ")
    assert set(page.evaluate("shown")) == {"unknown"}
    assert page.evaluate("document.body.className") == "stale"
    assert page.evaluate("changes.length") == 0

    guard.all_is_due()
    guard.run(1)
    expect(page.locator("#mode")).to_have_text("FALLBACK")
    assert set(looking.errors) == {f"http://{served.host}/events"}, "which the reload broke off"


def open_twelve(served: Served, pages: contextlib.ExitStack) -> None:
    """Pages in other browsers."""
    for _ in range(12):
        stream = pages.enter_context(socket.create_connection(("127.0.0.1", served.port), 20))
        stream.sendall(f"GET /events HTTP/1.0\r\nHost: {served.host}\r\n\r\n".encode())
        assert stream.recv(12) == b"HTTP/1.0 200"


def test_one_page_too_many_is_shown_the_operators_buttons(
    served: Served, looking: Looking, tmp_path: Path
) -> None:
    guard = Shown(tmp_path, "label", served)
    guard.all_is_due()
    guard.run(1)
    with contextlib.ExitStack() as pages:
        open_twelve(served, pages)
        page = looking.page
        page.goto(f"http://{served.host}/")
        expect(page.locator("#rearm")).to_be_visible()
        expect(page.locator("#policy")).to_have_text("bench")
        open_twelve(served, pages)  # in its turn it is let go, and comes back by itself
        guard.all_is_due()
        guard.run(1)
        sequence = guard.bench.decision.sequence
        wait_until(lambda: page.evaluate("last && last.sequence") == sequence)
    assert looking.errors == []
