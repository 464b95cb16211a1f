# SPDX-License-Identifier: Apache-2.0
"""`edgeguard verify-log`, `replay` and `explain`, and `edgeguard run --record` before them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mcap", reason="the recorder needs the extra record")

from mcap.opcode import Opcode

from edgeguard.cli.main import main
from edgeguard.explain_page import LEFT, WIDE
from edgeguard.output.recorder.log_reader import Log, raw_records
from edgeguard.output.recorder.topics import STATE, TAPE
from edgeguard.zoo import models_dir
from tests.faults.bench import POLICY, Bench, write_policy

Edgeguard = Callable[..., tuple[int, str, str]]


@pytest.fixture
def edgeguard(capsys: pytest.CaptureFixture[str]) -> Edgeguard:
    """Runs a command; returns its exit code, stdout and stderr."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(a) for a in arguments])
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return run


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A drive with an uncertain time and a lost sensor in it, closed."""
    bench = Bench(write_policy(tmp_path), start_ns=0)
    bench.guard.record(tmp_path / "flight.mcap", key=tmp_path / "key.json")
    bench.nominal()
    bench.run(600, "thirty", certainty=0.61)
    bench.run(1000, "twenty")
    bench.signals["speed"] = float("nan")
    bench.run(200, "twenty")
    bench.guard.close()
    return tmp_path / "flight.mcap"


def test_a_good_log(log: Path, edgeguard: Edgeguard) -> None:
    code, said, _ = edgeguard("verify-log", log, "--key", log.with_name("key.pub"))
    assert (code, "closed, " in said, "nothing was changed" in said) == (0, True, True)
    code, said, _ = edgeguard("replay", log)
    assert (code, said) == (0, "280 decisions, all the same bit for bit\n")


def test_a_changed_log(log: Path, edgeguard: Edgeguard) -> None:
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 4
    log.write_bytes(data)
    code, said, _ = edgeguard("verify-log", log, "--key", log.with_name("key.pub"))
    assert code == 1 and "changed: " in said


def test_a_log_that_was_not_closed(log: Path, edgeguard: Edgeguard) -> None:
    log.write_bytes(log.read_bytes()[:-3000])
    code, said, _ = edgeguard("verify-log", log, "--key", log.with_name("key.pub"))
    assert code == 3
    assert re.search(r"not closed, ends at record \d+", said)


def test_no_key_is_an_error_and_no_pass(
    log: Path, edgeguard: Edgeguard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(log.parent / "nowhere"))
    code, _, said = edgeguard("verify-log", log)
    assert code == 2 and "log-key.pub" in said


def test_what_is_no_log(tmp_path: Path, edgeguard: Edgeguard) -> None:
    (tmp_path / "x.mcap").write_text("hello")
    for command in ("replay", "explain"):
        code, _, said = edgeguard(command, tmp_path / "x.mcap")
        assert code == 2 and "x.mcap: is no log" in said
    code, said, _ = edgeguard("verify-log", tmp_path / "x.mcap", "--key", "0" * 64)
    assert (code, said) == (1, f"{tmp_path}/x.mcap: is no log, or its beginning was changed\n")
    code, _, said = edgeguard("replay", tmp_path / "x.mcap", "--tape", tmp_path / "x.tape")
    assert code == 2 and not (tmp_path / "x.tape").exists()


def test_a_log_of_somebody_else_is_no_number_of_this_key(
    log: Path, edgeguard: Edgeguard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And whose key it was held against is said, when none was given."""
    other = log.parent / "edgeguard" / "log-key.pub"
    other.parent.mkdir()
    other.write_text("ab" * 32)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(log.parent))
    code, said, told = edgeguard("verify-log", log)
    assert code == 1 and "signed by another key than the one it is held against" in said
    assert "of this key" not in said
    assert f"held against {other}, as no --key is given" in told and "--key FILE.pub" in told
    other.write_bytes(log.with_name("key.pub").read_bytes())
    code, said, told = edgeguard("verify-log", log)
    assert code == 0 and "log 0 of this key" in said
    assert told == f"held against {other}, as no --key is given\n"
    assert edgeguard("verify-log", log, "--key", other)[2] == ""


def test_an_empty_key_is_not_the_default_one(
    log: Path, edgeguard: Edgeguard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of an unset variable, for instance."""
    default = log.parent / "edgeguard" / "log-key.pub"
    default.parent.mkdir()
    default.write_bytes(log.with_name("key.pub").read_bytes())
    monkeypatch.setenv("XDG_CONFIG_HOME", str(log.parent))
    code, said, told = edgeguard("verify-log", log, "--key", "")
    assert (code, said) == (2, "") and "--key: is empty" in told


@pytest.mark.parametrize(("command", "option"), [("explain", "--html"), ("replay", "--tape")])
def test_no_output_replaces_what_is_read(
    log: Path, edgeguard: Edgeguard, command: str, option: str
) -> None:
    """By whatever name."""
    before, key = log.read_bytes(), log.with_name("mine.pem")
    key.write_text("mine")
    log.with_name("hard").hardlink_to(log)
    log.with_name("soft").symlink_to(log)
    for name in ("flight.mcap", "hard", "soft", "mine.pem"):
        out = log.with_name(name)
        code, said, told = edgeguard(command, log, "--private-key", key, option, out)
        assert (code, said) == (2, "") and f"{option} {out}: is read here" in told
    assert (log.read_bytes(), key.read_text()) == (before, "mine")


def test_what_follows_the_end_of_a_log_is_not_passed_over(log: Path, edgeguard: Edgeguard) -> None:
    """Two logs put together, whether the first was closed or not; a crash leaves nothing there."""
    whole = log.read_bytes()
    tail = [raw for raw in raw_records(whole) if raw.opcode == Opcode.CHUNK][-1]
    for first, more in ((whole, whole), (whole[: tail.end], whole), (whole, b"x")):
        log.write_bytes(first + more)
        code, said, told = edgeguard("replay", log)
        assert (code, said) == (1, "")
        assert f"{len(more)} bytes follow its end" in told
        assert re.search(r"only the \d+ decisions before them are the same", told)
        code, _, told = edgeguard("explain", log)
        assert code == 0 and f"{len(more)} bytes follow its end" in told
    for length in range(tail.end, len(whole), 997):
        log.write_bytes(whole[:length])
        code, _, told = edgeguard("replay", log)
        assert code == 0 and "follow its end" not in told, f"cut to {length} bytes"


def test_explained_as_text(log: Path, edgeguard: Edgeguard) -> None:
    """The times are those of the drive, the thresholds those of the policy."""
    code, said, counts = edgeguard("explain", log)
    assert code == 0
    changes = [line.split(None, 1) for line in said.splitlines()]
    assert [c[1].split("  ")[0] for c in changes] == [
        "start -> FALLBACK", "FALLBACK -> NOMINAL", "NOMINAL -> FALLBACK", "FALLBACK -> NOMINAL",
        "NOMINAL -> SAFE_STOP",
    ]  # fmt: skip
    uncertain, stop = changes[2], changes[4]
    assert "LOW_CERTAINTY: certainty 0.61 below 0.80 asked by lower target_speed" in uncertain[1]
    assert "for 300 ms (acts after 300 ms)" in uncertain[1]
    assert float(uncertain[0]) == pytest.approx(1.01 + 0.3, abs=0.03)
    assert "INPUT_INVALID: speed is absent, no number, or outside 0 to 70" in stop[1]
    assert float(stop[0]) == pytest.approx(2.61 + 0.05, abs=0.01)
    assert counts == "280 decisions, 5 changes of mode\n"


class _Tags(HTMLParser):
    """Checks that every element is closed, and keeps the text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in ("meta", "line", "polyline"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in ("meta", "line", "polyline"):
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_explained_as_a_page(log: Path, edgeguard: Edgeguard, tmp_path: Path) -> None:
    assert edgeguard("explain", log, "--html", tmp_path / "x.html")[0] == 0
    page = (tmp_path / "x.html").read_text()
    tags = _Tags()
    tags.feed(page)
    assert tags.open == []
    assert "certainty 0.61 below 0.80" in tags.text
    assert {"mode", "LOW_CERTAINTY", "INPUT_INVALID", "target_speed"} <= set(tags.text.split())
    assert page.count('<rect class="SAFE_STOP"') == 1
    assert "http" not in page.replace("http://www.w3.org/2000/svg", ""), "loads nothing"


def test_a_clock_that_is_set_back_stays_on_the_page(tmp_path: Path, edgeguard: Edgeguard) -> None:
    bench = Bench(write_policy(tmp_path), start_ns=60_000_000_000)
    bench.guard.record(tmp_path / "flight.mcap", key=tmp_path / "key.json")
    bench.nominal()
    bench.tick(-30_000)
    bench.run(1000, "twenty")
    bench.guard.close()
    html = tmp_path / "x.html"
    assert edgeguard("explain", tmp_path / "flight.mcap", "--html", html)[0] == 0
    page = html.read_text()
    assert "201 decisions in 30.0 s" in page
    spans = [
        (float(x), float(x) + float(wide))
        for x, wide in re.findall(
            r'<rect class="[A-Z]+" x="([-\d.]+)" y="14" width="([\d.]+)"', page
        )
    ]
    assert len(spans) == 5 and all(LEFT <= start < end <= LEFT + WIDE + 1 for start, end in spans)


def test_the_cause_that_acts_is_named_not_one_that_waits(
    tmp_path: Path, edgeguard: Edgeguard
) -> None:
    """LOW_CERTAINTY is present first and would act after 300 ms; silence acts before that."""
    bench = Bench(write_policy(tmp_path), start_ns=0)
    bench.guard.record(tmp_path / "flight.mcap", key=tmp_path / "key.json")
    bench.nominal()
    bench.run(100, "thirty", certainty=0.5)
    bench.run(200)
    bench.guard.close()
    _, said, _ = edgeguard("explain", tmp_path / "flight.mcap")
    line = said.splitlines()[2]
    assert "NOMINAL -> FALLBACK  STALE_MODEL: target_speed: 0 of 2 members" in line
    assert "one is 105 ms old, above 100 ms" in line


RUN_POLICY = """
[guard]
name = "run"
period_ms = 10

[camera.front]
rate_hz = 10
max_age_ms = 250

[signal.speed]
unit = "m/s"
range = [0.0, 70.0]

[rearm]
standstill_signal = "speed"
standstill_below = 0.1

[member.compact]
model = "package:gtsrb/compact"
runtime = "litert"
camera = "front"
deadline_ms = 200
max_age_ms = 250
may_suggest = ["target_speed"]

[channel.target_speed]
unit = "m/s"
range = [0.0, 36.2]
rise = 1.5
fall = 4.0
stop = 0.0
fallback = { controller = "slow_and_hold", floor = 5.5 }
raise = { certainty = 0.5, quorum = 1 }
lower = { certainty = 0.5, quorum = 1 }
"""


def test_recorded_by_run(tmp_path: Path, edgeguard: Edgeguard) -> None:
    """A model that runs here, as `edgeguard run` isolates it; its log needs no model."""
    pytest.importorskip("ai_edge_litert")
    (tmp_path / "guard.toml").write_text(RUN_POLICY)
    with np.load(models_dir() / "compact.golden.npz") as golden:
        pixels = (golden["x"].astype(np.int16) + 128).astype(np.uint8)
    np.savez(tmp_path / "drive.npz", x=np.ascontiguousarray(pixels[..., ::-1]))
    done = subprocess.run(
        [sys.executable, "-m", "edgeguard", "run", "guard.toml", "--source", "drive.npz",
         "--signal", "speed=20", "--record", "run.mcap", "--record-key", "key.json"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    decided = [json.loads(line) for line in done.stdout.splitlines()]
    log = tmp_path / "run.mcap"
    code, said, _ = edgeguard("verify-log", log, "--key", tmp_path / "key.pub")
    assert code == 0 and f"{len(decided)} decisions" in said
    code, said, _ = edgeguard("replay", log)
    assert (code, said) == (0, f"{len(decided)} decisions, all the same bit for bit\n")


def test_replay_imports_no_runtime(log: Path) -> None:
    code = (
        "import sys; from edgeguard.cli.main import main\n"
        f"try: main(['replay', {str(log)!r}])\n"
        "except SystemExit as e: assert e.code == 0\n"
        "bad = {'onnxruntime', 'ai_edge_litert', 'tflite_runtime', 'torch'} & set(sys.modules)\n"
        "assert not bad, bad"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_options_of_a_recording_need_one(tmp_path: Path, edgeguard: Edgeguard) -> None:
    policy = write_policy(tmp_path)
    policy.write_text(RUN_POLICY)
    code, _, said = edgeguard("run", policy, "--source", "camera:99", "--keep-mb", "5")
    assert code == 2 and "belong to --record" in said


def test_a_head_that_is_none(log: Path, edgeguard: Edgeguard) -> None:
    given = ("verify-log", log, "--key", log.with_name("key.pub"), "--head")
    code, _, said = edgeguard(*given, "12")
    assert code == 2 and "want 64 hex digits" in said
    code, said, _ = edgeguard(*given, "12" * 32)
    assert code == 1 and "was cut" in said


def test_a_broken_association_is_explained_by_its_pair(
    tmp_path: Path, edgeguard: Edgeguard
) -> None:
    pair = """
[signal.wheel]
unit = "m/s"
range = [0.0, 70.0]

[detector.wheel]
kind = "association"
between = ["speed", "wheel"]
relation = "difference"
above = 1.0
below = -1.0

[detector.silent]
kind = "association"
between = ["speed"]
relation = "rate"
delay_ms = 2550
above = 100.0
"""
    bench = Bench(write_policy(tmp_path, POLICY + pair), start_ns=0)
    bench.signals["wheel"] = 20.0
    bench.guard.record(tmp_path / "flight.mcap", key=tmp_path / "key.json")
    bench.nominal()
    bench.signals["wheel"] = 12.0
    bench.run(500, "twenty")
    bench.guard.close()
    code, said, _ = edgeguard("explain", tmp_path / "flight.mcap")
    assert code == 0 and "wheel (speed, wheel) 8 above 1" in said
    assert "silent" not in said  # it has not said anything yet
    code, said, _ = edgeguard("replay", tmp_path / "flight.mcap")
    assert code == 0 and "all the same bit for bit" in said


def without_states(log: Path, monkeypatch: pytest.MonkeyPatch, kept: int) -> None:
    """As if its first states, but so many of the last, were missing."""
    entries = list(Log(log).entries(TAPE))
    states = [i for i, e in enumerate(entries) if e.data[0] == STATE]
    dropped = set(states[: len(states) - kept])
    left = [e for i, e in enumerate(entries) if i not in dropped]
    monkeypatch.setattr(Log, "entries", lambda self, *topics: iter(left))


def test_decisions_that_cannot_be_computed_are_told_without_a_gap(
    tmp_path: Path, edgeguard: Edgeguard, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(write_policy(tmp_path), start_ns=0)
    bench.guard.record(tmp_path / "flight.mcap", key=tmp_path / "key.json")
    bench.nominal()
    bench.run(11_000, "twenty")
    bench.guard.close()
    without_states(tmp_path / "flight.mcap", monkeypatch, kept=1)
    code, said, told = edgeguard("replay", tmp_path / "flight.mcap")
    assert code == 0 and "all the same bit for bit" in said
    counts = int(said.split()[0]), int(told.split()[0])
    assert min(counts) > 0 and sum(counts) == bench.ticks
    assert "cannot be computed" in told


def test_a_log_in_which_nothing_can_be_computed_is_not_the_same(
    log: Path, edgeguard: Edgeguard, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_states(log, monkeypatch, kept=0)
    code, said, told = edgeguard("replay", log)
    assert (code, said) == (1, "")
    assert "280 decisions cannot be computed" in told
    assert "holds no decision that can be computed again" in told


def test_records_that_nobody_vouches_for_are_mentioned(log: Path, edgeguard: Edgeguard) -> None:
    for command in ("replay", "explain"):
        assert "not sealed" not in edgeguard(command, log)[2]
    data = log.read_bytes()
    tail = [raw for raw in raw_records(data) if raw.opcode == Opcode.CHUNK][-1]
    log.write_bytes(data[: tail.end])
    for command in ("replay", "explain"):
        code, _, said = edgeguard(command, log)
        assert code == 0 and "its last records are not sealed" in said
