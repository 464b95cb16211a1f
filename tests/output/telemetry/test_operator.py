# SPDX-License-Identifier: Apache-2.0
"""Re-arming over HTTP: who may, how often, from where."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edgeguard.errors import EdgeguardError
from edgeguard.output.telemetry import Requests, read_token
from edgeguard.output.telemetry.operator import TOO_LATE, TOO_OFTEN
from edgeguard.output.telemetry.process import Link
from tests.faults.bench import camera_guard
from tests.output.telemetry.conftest import TOKEN, Served, Shown, meanwhile

pytestmark = pytest.mark.alone

RIGHT = {"token": TOKEN}
SECOND_NS = 1_000_000_000


def request(what: str, token: str, asked_ns: Any) -> bytes:
    """As the telemetry process hands it on."""
    return json.dumps({"id": 1, "do": what, "token": token, "asked_ns": asked_ns}).encode()


def stopped(folder: Path, served: Link) -> Shown:
    """In SAFE_STOP at standstill, with nothing that still speaks against going on."""
    shown = Shown(folder, "label", served, token=TOKEN)
    shown.run(50)
    shown.bench.signals = {}
    shown.run(20, say=None)
    shown.bench.signals = {"speed": 0.0}
    shown.run(150, say=None)
    assert "INPUT_INVALID" in shown.bench.decision.causes
    return shown


def answer(shown: Shown, served: Served, what: str, body: Any) -> Any:
    status, said, _ = meanwhile(shown, lambda: served.ask("POST", what, body))
    assert status == 200, said
    return json.loads(said)["answer"]


def test_the_right_token_at_standstill_clears_the_stop(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shown = stopped(tmp_path, served)
    shown.bench.signals = {"speed": 5.0}
    shown.run(2, say=None)
    assert answer(shown, served, "/rearm", RIGHT) == "not at standstill"
    shown.bench.signals = {"speed": 0.0}
    shown.run(2, say=None)
    assert answer(shown, served, "/rearm", {"token": "x" * 20}) == "wrong operator token"
    assert "INPUT_INVALID" in shown.bench.decision.causes
    caplog.clear()
    with caplog.at_level(logging.WARNING, "edgeguard"):
        assert answer(shown, served, "/rearm", RIGHT) is None
        assert answer(shown, served, "/rearm", RIGHT) == TOO_OFTEN
    shown.run(1, say=None)
    assert "INPUT_INVALID" not in shown.bench.decision.causes
    assert caplog.messages == ["operator: rearm: done", f"operator: rearm: {TOO_OFTEN}"]
    assert TOKEN not in caplog.text


def test_takeover_needs_the_token_too(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shown = Shown(tmp_path, "label", served, token=TOKEN)
    shown.run(50)
    with caplog.at_level(logging.WARNING, "edgeguard"):
        assert answer(shown, served, "/takeover", {"token": "x" * 20}) == "wrong operator token"
    assert any("failed_authentication" in message for message in caplog.messages)
    assert shown.bench.decision.active
    assert answer(shown, served, "/takeover", RIGHT) is None
    shown.run(1, say=None)
    assert not shown.bench.decision.active


@pytest.mark.parametrize(
    ("method", "headers", "body", "status"),
    [
        ("GET", {}, None, 405),
        ("POST", {"Origin": ""}, RIGHT, 403),
        ("POST", {"Origin": "null"}, RIGHT, 403),
        ("POST", {"Origin": "http://evil.example"}, RIGHT, 403),
        ("POST", {"Origin": "https://{host}"}, RIGHT, 403),
        ("POST", {"Origin": "http://{host}.evil.example"}, RIGHT, 403),
        ("POST", {"Host": "evil.example", "Origin": "http://evil.example"}, RIGHT, 403),
        ("POST", {"Host": "127.0.0.1.evil.example", "Origin": "http://127.0.0.1.evil.example"},
         RIGHT, 403),
        ("POST", {"Host": ""}, RIGHT, 403),
        ("POST", {"Content_Type": "text/plain"}, RIGHT, 400),
        ("POST", {"Content_Type": "application/x-www-form-urlencoded"}, b"token=" + TOKEN.encode(),
         400),
        ("POST", {}, b"\xff", 400),
        ("POST", {}, b"[" * 1000, 400),
        ("POST", {}, ["token"], 400),
        ("POST", {}, {"token": 3}, 400),
        ("POST", {}, {"token": "x" * 2000}, 400),
        ("POST", {"Content_Length": "-1"}, RIGHT, 400),
        ("PUT", {}, RIGHT, 501),
    ],
)  # fmt: skip
def test_what_comes_from_elsewhere_never_reaches_the_loop(
    idle: Served, method: str, headers: dict[str, str], body: Any, status: int
) -> None:
    given = {key: value.format(host=idle.host) for key, value in headers.items()}
    assert idle.ask(method, "/rearm", body, **given)[0] == status
    assert idle.request() is None
    assert not idle.lost


def test_pages_that_are_left_open_keep_nobody_out(served: Served, tmp_path: Path) -> None:
    """Of requests and metrics; one page too many takes the place of the oldest."""
    from edgeguard.output.telemetry.server import MOST_STREAMS

    request = f"GET /events HTTP/1.0\r\nHost: {served.host}\r\n\r\n".encode()
    with contextlib.ExitStack() as pages:
        opened = []
        for _ in range(20):
            page = pages.enter_context(socket.create_connection(("127.0.0.1", served.port), 20))
            page.sendall(request)
            opened.append(pages.enter_context(page.makefile("rb")))
            assert opened[-1].readline() == b"HTTP/1.0 200 OK\r\n"
        for page in opened[:-MOST_STREAMS]:
            assert b"retry: " in page.read(), "it has ended, and was told when to ask again"
        Shown(tmp_path, "label", served).run(1)
        for page in opened[-MOST_STREAMS:]:
            while (line := page.readline()) and not line.startswith(b"data: "):
                pass
            assert json.loads(line[6:])["sequence"] == 1
        assert served.ask("GET", "/metrics")[0] == 200
        assert served.ask("POST", "/takeover", {"token": 3})[0] == 400


@pytest.mark.parametrize("path", ["/", "/events", "/metrics", "/frame.png"])
def test_a_name_that_was_made_to_lead_here_reads_nothing(idle: Served, path: str) -> None:
    assert idle.ask("GET", path, Host=f"evil.example:{idle.port}")[0] == 403
    assert idle.ask("GET", "/", Host=f"localhost:{idle.port}")[0] == 200


def test_the_page_may_load_nothing_and_nobody_may_frame_it(idle: Served) -> None:
    _, body, headers = idle.ask("GET", "/")
    rules = headers["Content-Security-Policy"]
    assert "default-src 'none'" in rules
    assert "frame-ancestors 'none'" in rules
    assert "unsafe" not in rules
    assert b"http" not in body.replace(b"http-equiv", b"")


def test_buttons_that_are_not_offered_do_nothing() -> None:
    served = Served(controls={"rearm": False, "takeover": False})
    try:
        assert served.ask("POST", "/rearm", RIGHT)[0] == 404
        assert served.request() is None
    finally:
        served.close()


def test_a_minute_later_it_may_be_asked_again(
    pair: tuple[Link, socket.socket], tmp_path: Path
) -> None:
    link, theirs = pair
    shown = Shown(tmp_path, "label", link, token=TOKEN)
    now_ns = [0]
    requests = Requests(link, shown.bench.guard, lambda: now_ns[0])
    said = []
    for second in (0, 1, 2, 3, 59, 60, 61, 62, 63):
        now_ns[0] = second * SECOND_NS
        theirs.send(request("rearm", "no", now_ns[0]))
        requests.serve()
        assert requests.last is not None
        said.append(requests.last["answer"] == TOO_OFTEN)
    assert said == [False, False, False, True, True, False, False, False, True]


def test_a_flood_fills_no_log_and_keeps_nobody_from_taking_over(
    pair: tuple[Link, socket.socket], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    link, theirs = pair
    shown = Shown(tmp_path, "label", link, token=TOKEN)
    shown.run(50)
    requests = Requests(link, shown.bench.guard, lambda: 0)
    with caplog.at_level(logging.WARNING, "edgeguard"):
        for _ in range(30):
            theirs.send(request("takeover", "no", 0))
            requests.serve()
    assert caplog.messages.count(f"operator: takeover: {TOO_OFTEN}") == 1
    assert sum("failed_authentication" in message for message in caplog.messages) <= 6
    theirs.send(request("takeover", TOKEN, 0))
    requests.serve()
    assert requests.last is not None
    assert requests.last["answer"] is None
    shown.run(1, say=None)
    assert not shown.bench.decision.active


def test_wrong_takeovers_stay_security_events_however_many_there_are(
    pair: tuple[Link, socket.socket], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Each kind of event counts once a second, so more often would only fill the log."""
    link, theirs = pair
    shown = Shown(tmp_path, "label", link, token=TOKEN)
    now_ns = [0]
    requests = Requests(link, shown.bench.guard, lambda: now_ns[0])
    with caplog.at_level(logging.WARNING, "edgeguard"):
        for i in range(30):
            now_ns[0] = i * SECOND_NS // 3
            theirs.send(request("takeover", f"no {i}", now_ns[0]))
            requests.serve()
    assert sum("failed_authentication" in message for message in caplog.messages) == 3 + 9


def test_a_rearm_that_nobody_waits_for_any_more_is_not_carried_out(
    pair: tuple[Link, socket.socket], tmp_path: Path
) -> None:
    """Who asked was told that there is no answer; a takeover is never too late."""
    link, theirs = pair
    shown = stopped(tmp_path, link)
    now_ns = [100 * SECOND_NS]
    requests = Requests(link, shown.bench.guard, lambda: now_ns[0])

    def answered(what: str, asked_ns: Any) -> Any:
        theirs.send(request(what, TOKEN, asked_ns))
        requests.serve()
        assert requests.last is not None
        return requests.last["answer"]

    for asked_ns in (now_ns[0] - 3 * SECOND_NS, now_ns[0] + 1, None, "now", 1e99):
        assert answered("rearm", asked_ns) == TOO_LATE
    shown.run(1, say=None)
    assert "INPUT_INVALID" in shown.bench.decision.causes
    assert answered("rearm", now_ns[0] - SECOND_NS) is None
    assert answered("takeover", now_ns[0] - 3 * SECOND_NS) is None


def test_a_token_file_that_others_may_use_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    for mode in (0o640, 0o604, 0o620, 0o602, 0o610):
        file.chmod(mode)
        with pytest.raises(EdgeguardError, match="others than its owner may use it"):
            read_token(file)
    file.chmod(0o600)
    assert read_token(file) == TOKEN


@pytest.mark.skipif(os.geteuid() != 0, reason="needs: root, to give a file away")
def test_a_token_file_of_somebody_else_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(TOKEN)
    os.chown(file, 65534, -1)
    with pytest.raises(EdgeguardError, match="belongs to another user"):
        read_token(file)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "want one word of 16"), (b"short", "want one word of 16"), (b"x" * 300, "of 16 to 256"),
     (b"two words of a token", "want one word"), ("n\u00e4h".encode() * 9, "is no ASCII text")],
)  # fmt: skip
def test_what_is_no_token_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_bytes(content)
    with pytest.raises(EdgeguardError, match=message):
        read_token(file)


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name, message in (("pipe", "is no file"), ("none", "No such file"), (".", "directory")):
        with pytest.raises(EdgeguardError, match=message):
            read_token(tmp_path / name)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--page", "9464"], "--page 9464: want HOST:PORT, for instance 127.0.0.1:9464"),
        (["--page", ":9464"], "--page :9464: want HOST:PORT, for instance 127.0.0.1:9464"),
        (
            ["--page", "127.0.0.1:0"],
            "--page 127.0.0.1:0: want HOST:PORT, for instance 127.0.0.1:9464",
        ),
        (["--page", "127.0.0.1:{taken}"], "--page 127.0.0.1:{taken}: Address already in use"),
        (["--page", "192.0.2.1:9464"], "--page 192.0.2.1:9464: Cannot assign requested address"),
        (["--token-file", "token"], "--token-file: is for the page; add --page"),
        (["--page", "127.0.0.1:9464", "--token-file", "none"], "none: No such file or directory"),
    ],
)
def test_what_is_wrong_on_the_command_line_is_named(
    tmp_path: Path, arguments: list[str], message: str
) -> None:
    camera_guard(tmp_path, "none").close()  # writes the policy
    (tmp_path / "token").touch(0o600)
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "edgeguard", "run", "camera.toml", "--source", ".",
             *(argument.format(taken=taken) for argument in arguments)],
            cwd=tmp_path, capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert (done.returncode, done.stderr) == (2, message.format(taken=taken) + "\n")
