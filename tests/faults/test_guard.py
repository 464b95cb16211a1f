# SPDX-License-Identifier: Apache-2.0
"""What a guard promises beyond the catalogue: evidence, arming, re-arming, takeover."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeguard import ConfigError, Guard, Mode, ModelRefused
from edgeguard.wiring import HANG_S, core_policy
from edgeguard.zoo import models_dir
from tests.faults.bench import MEMBERS, POLICY, Bench, camera_guard, certain, write_policy

pytestmark = pytest.mark.alone


def test_raising_asks_for_more_evidence_than_lowering(bench: Bench) -> None:
    """The same certainty, between the two thresholds: it lowers the command and raises none."""
    start = bench.command
    bench.run(1000, "thirty", certainty=0.9)
    assert bench.command == start
    assert "OPERATION_DENIED" in bench.decision.present
    assert bench.decision.mode == Mode.NOMINAL
    bench.run(1000, "ten", certainty=0.9)
    assert bench.command == pytest.approx(start - 4.0, abs=0.1)
    bench.run(1000, "thirty", certainty=0.99)
    assert bench.command > start - 4.0


@pytest.mark.parametrize(("asked", "seen", "rises"), [(1, 1, True), (2, 1, False), (2, 2, True)])
def test_one_frame_that_all_misread_raises_nothing(
    tmp_path: Path, asked: int, seen: int, rises: bool
) -> None:
    """F28: a picture that decodes to rubble; the next one is another."""
    asks = POLICY.replace("quorum = 3 }", f"quorum = 3, frames = {asked} }}")
    bench = Bench(write_policy(tmp_path, asks)).nominal()
    bench.run(6000, "twenty")
    assert bench.command == pytest.approx(20.0, abs=1e-3)
    bench.run(30 * seen, "thirty")  # a frame is 30 ms
    assert (bench.command > 20.001) == rises
    bench.run(30, "twenty")
    assert bench.decision.mode == Mode.NOMINAL


ASKS_TWO = POLICY.replace("quorum = 3 }", "quorum = 3, frames = 2 }")


@pytest.mark.parametrize("ahead_ns", [-5_000_000, -999, -1, 0, 1, 999, 4_000_123, 9_999_999])
def test_two_looks_at_one_capture_are_one_frame(tmp_path: Path, ahead_ns: int) -> None:
    """Stamps may lie ahead of the decision by a period; ages are whole microseconds."""
    bench = Bench(write_policy(tmp_path, ASKS_TWO), start_ns=1_000_000_321).nominal()
    bench.run(6000, "twenty")
    captured = bench.now_ns + 10_000_000 + ahead_ns  # against the next decision
    for _ in range(3):
        for member in MEMBERS:
            bench.guard.suggest(member, certain("thirty"), captured, captured + 1000)
        bench.tick(10.000_7)
    assert bench.command == pytest.approx(20.0, abs=1e-3)
    for member in MEMBERS:
        bench.guard.suggest(member, certain("thirty"), bench.now_ns, bench.now_ns)
    bench.tick()
    assert bench.command > 20.001


@pytest.mark.parametrize("given_again", [True, False])
def test_a_frame_that_the_camera_gives_again_is_no_second_one(
    tmp_path: Path, given_again: bool
) -> None:
    """A decoder that repeats its last picture under a new stamp, for less than debounce."""
    camera = "[camera.front]\nrate_hz = 33\nmax_age_ms = 100\n"
    bench = Bench(write_policy(tmp_path, ASKS_TWO + camera))
    bench.guard.arm()

    def frame(picture: int, label: str) -> None:
        captured = bench.now_ns
        bench.guard.observe("front", np.full((8, 8, 3), picture, np.uint8), captured)
        for tick in range(3):
            bench.tick()
            if tick == 1:
                for member in MEMBERS:
                    bench.guard.suggest(member, certain(label), captured, bench.now_ns)

    for k in range(200):
        frame(k, "twenty")
    assert bench.command == pytest.approx(20.0, abs=1e-3)
    frame(200, "thirty")
    frame(200 if given_again else 201, "thirty")
    for k in range(202, 210):
        frame(k, "nothing")
    assert bench.decision.mode == Mode.NOMINAL
    assert (bench.command > 20.001) != given_again


def test_before_arming_it_stops(policy: Path) -> None:
    bench = Bench(policy)
    bench.run(6000, "thirty")
    assert bench.decision.mode == Mode.SAFE_STOP
    assert bench.command == 0.0


def test_armed_without_a_suggestion_the_rules_command(policy: Path) -> None:
    bench = Bench(policy)
    bench.guard.arm()
    bench.run(1000)
    assert bench.decision.mode == Mode.FALLBACK
    assert bench.command == pytest.approx(16.0, abs=0.1)


def test_single_operations_can_be_granted(tmp_path: Path) -> None:
    path = write_policy(tmp_path, POLICY.replace("quorum = 3", "quorum = 2"))
    text = path.read_text()
    grant = 'may_suggest = { target_speed = ["lower"] }'
    head, tail = text.split("[member.three]")
    path.write_text(head + "[member.three]" + tail.replace('may_suggest = ["target_speed"]', grant))
    bench = Bench(path)
    bench.guard.arm()
    start = bench.run(1000, "nothing").command["target_speed"]
    for _ in range(30):
        bench.say(certain("thirty"), ("two", "three"))
        bench.say(certain("nothing"), ("one",))
        bench.tick()
        assert "UNAUTHORIZED_SUGGESTION" in bench.decision.present
    assert bench.command <= start


def test_rearm_needs_token_standstill_and_no_cause(policy: Path) -> None:
    bench = Bench(policy, operator_token="open sesame").nominal()
    good = bench.guard._parts.shadow._controllers
    bench.guard._parts.shadow._controllers = (("target_speed", lambda *_: float("nan")),)
    bench.run(100, "twenty")
    assert bench.decision.mode == Mode.SAFE_STOP
    assert bench.guard.rearm("open sesame") == "not at standstill"
    bench.signals["speed"] = 0.0
    bench.run(10, "twenty")
    assert bench.guard.rearm("open sesame") == "a cause is still present"
    bench.guard._parts.shadow._controllers = good
    bench.run(2000, "twenty")
    assert bench.guard.rearm("guess") == "wrong operator token"
    assert bench.run(10, "twenty").mode == Mode.SAFE_STOP
    assert bench.guard.rearm("open sesame") is None
    assert bench.run(10, "twenty").mode == Mode.NOMINAL


def test_without_a_token_there_is_no_rearming(bench: Bench) -> None:
    assert "no operator token" in str(bench.guard.rearm(""))


def test_a_flagged_picture_does_not_command(tmp_path: Path) -> None:
    """What will act once debounced is not acted on before: one flagged frame moves no target."""
    detector = """
[detector.unsure]
kind = "score"
member = "one"
feature = "entropy"
above = 0.02
cause = "OUT_OF_DISTRIBUTION"
"""
    bench = Bench(write_policy(tmp_path, POLICY + detector)).nominal()
    start = bench.command
    bench.say(certain("thirty", 0.985))
    bench.tick()
    assert "OUT_OF_DISTRIBUTION" in bench.decision.present
    assert bench.decision.evidence["target_speed"]["granted"] is False
    bench.run(2000, "nothing")
    assert bench.command <= start


def test_a_file_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^nope\.toml: no such file"):
        Guard.load("nope.toml")


def test_a_policy_that_the_core_refuses_is_a_sentence_and_no_traceback() -> None:
    with pytest.raises(ConfigError, match=r"^a\.toml: the decision core refuses it: policy: "):
        core_policy({}, "a.toml")


@pytest.mark.parametrize(("deadline_ms", "hang_s"), [(100, HANG_S), (4000, 8.0)])
def test_a_worker_is_not_killed_for_what_its_deadline_allows(
    tmp_path: Path, deadline_ms: int, hang_s: float
) -> None:
    camera_guard(tmp_path, "none").close()
    text = (tmp_path / "camera.toml").read_text().replace("max_age_ms = 350", "max_age_ms = 9000")
    text = text.replace("deadline_ms = 100", f"deadline_ms = {deadline_ms}")
    (tmp_path / "camera.toml").write_text(text)
    assert Guard.load(tmp_path / "camera.toml")._parts._spec("compact").hang_s == hang_s


def test_a_decision_prints_its_names(bench: Bench) -> None:
    bench.run(2000)
    text = repr(bench.decision)
    assert text.startswith(
        "Decision(FALLBACK, causes=('STALE_MODEL', 'MEMBER_LOST'), command={'target_speed': "
    )
    assert f"sequence={bench.decision.sequence}" in text
    assert f"{bench.decision.mode}" == str(Mode.FALLBACK) == "FALLBACK"


def test_a_signal_that_nobody_declared_is_named_once(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.signals |= {"sped": 20.0, "engaged": 1.0}
    bench.run(100, "twenty")
    assert bench.decision.mode == Mode.NOMINAL
    bench.signals[7] = 1.0  # type: ignore[index]
    bench.run(100, "twenty")
    told = [record.getMessage() for record in caplog.records]
    assert [line.rpartition(": ")[2] for line in told] == ["'sped'", "7"]
    assert all("guard.toml: signals that it does not declare" in line for line in told)


def test_names_that_a_caller_makes_up_fill_neither_memory_nor_log(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    many = {f"{n:04}" + "x" * 1000: 1.0 for n in range(1000)}
    for made_up in (dict(list(many.items())[:60]), many, many, {"another": 1.0}):
        bench.signals = {"speed": 20.0, **made_up}
        bench.run(30, "twenty")
    assert bench.decision.mode == Mode.NOMINAL and bench.command == pytest.approx(20.0, abs=0.1)
    told = [record.getMessage() for record in caplog.records]
    assert [line.count("xxx'") + line.count("'00") for line in told] == [60, 40]
    assert told[-1].endswith("; no further ones are named")
    assert max(map(len, told)) < 100 * 70


def test_a_slow_loop_is_named(bench: Bench) -> None:
    for _ in range(20):
        bench.say(certain("twenty"))
        bench.tick(25)
    assert "OVERRUN" in bench.decision.causes


def test_after_a_takeover_the_old_target_is_not_resumed(policy: Path) -> None:
    bench = Bench(policy, operator_token="t").nominal()
    bench.guard.takeover()
    bench.signals["speed"] = 0.0
    bench.run(100, "nothing")
    assert bench.guard.rearm("t") is None
    bench.run(1000, "nothing")
    assert bench.decision.active
    assert bench.command == 0.0


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_closed_members_are_lost_and_come_back(tmp_path: Path, isolation: str) -> None:
    guard = camera_guard(tmp_path, isolation)
    guard.close()
    assert "MEMBER_LOST" in guard.decide({"speed": 20.0}, 10**9).present
    guard.arm()
    frame = np.zeros((32, 32, 3), np.uint8)
    decision = guard.step("front", frame, {"speed": 20.0}, 10**9 + 10**7)
    guard.wait(2.0)
    decision = guard.decide({"speed": 20.0}, 10**9 + 2 * 10**7)
    assert "MEMBER_LOST" not in decision.present
    guard.close()


def test_the_simple_loop_works_with_process_members(tmp_path: Path) -> None:
    """One frame a step, each answer heard in a later one: none of them is LATE."""
    guard = camera_guard(tmp_path, "process")
    noise = np.random.default_rng(0)
    start = time.monotonic_ns()
    seen = []
    for _ in range(15):
        frame = noise.integers(0, 255, (32, 32, 3), np.uint8)
        now = time.monotonic_ns()
        seen.append(guard.step("front", frame, {"speed": 20.0}, now))
        time.sleep(0.09)
        for _ in range(8):
            now += 10_000_000
            guard.decide({"speed": 20.0}, max(now, time.monotonic_ns()))
    late = sum("LATE" in d.present for d in seen)
    assert late <= 3, (late, (time.monotonic_ns() - start) / 1e9)  # a busy machine may be late
    assert seen[-1].evidence["target_speed"]["voters"] == 1
    guard.close()


@pytest.mark.parametrize("isolation", ["none", "process"])
def test_f03_the_time_since_the_capture_counts_against_the_deadline(
    tmp_path: Path, isolation: str
) -> None:
    frame = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    with camera_guard(tmp_path, isolation) as guard:
        guard.observe("front", frame, 10**9, now_ns=10**9 + 200_000_000)
        guard.wait(10.0)
        decision = guard.decide({"speed": 20.0}, 10**9 + 210_000_000)
        assert "LATE" in decision.present
        assert decision.evidence["target_speed"]["voters"] == 0
        with pytest.raises(ValueError, match="now_ns: want whole nanoseconds"):
            guard.observe("front", frame, 10**9, now_ns=0.5)  # type: ignore[arg-type]


def test_an_answer_that_is_heard_at_once_leaves_nothing_to_wait_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By another thread, as soon as the worker was asked."""
    camera_guard(tmp_path, "process").close()
    text = (tmp_path / "camera.toml").read_text().replace("max_age_ms = 350", "max_age_ms = 60000")
    text = text.replace("deadline_ms = 100", "deadline_ms = 30000")
    (tmp_path / "camera.toml").write_text(text)
    with Guard.load(tmp_path / "camera.toml") as guard:
        guard.arm()
        submit = guard.members["compact"].submit

        def heard_at_once(*given: Any) -> Any:
            taken = submit(*given)
            guard.wait(30.0)
            return taken

        monkeypatch.setattr(guard.members["compact"], "submit", heard_at_once)
        guard.observe("front", np.zeros((32, 32, 3), np.uint8), 10**9)
        decision = guard.decide({"speed": 20.0}, 10**9 + 40_000_000_000)
    assert "LATE" not in decision.present


def test_without_descriptors_it_does_not_arm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(24, "too many open files")

    camera_guard(tmp_path, "process").close()
    monkeypatch.setattr(os, "memfd_create", refuse)
    with (
        Guard.load(tmp_path / "camera.toml") as guard,
        pytest.raises(ModelRefused, match=r"camera\.toml: .*too many open files"),
    ):
        guard.arm()


def test_f08_a_tampered_model_does_not_arm(tmp_path: Path) -> None:
    for file in models_dir().glob("compact*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "labels.json").write_bytes((models_dir() / "labels.json").read_bytes())
    camera_guard(tmp_path, "none").close()
    policy = (
        (tmp_path / "camera.toml").read_text().replace("package:gtsrb/compact", "compact.tflite")
    )
    (tmp_path / "camera.toml").write_text(policy)
    model = bytearray((tmp_path / "compact.tflite").read_bytes())
    model[len(model) // 2] ^= 1
    (tmp_path / "compact.tflite").write_bytes(bytes(model))
    guard = Guard.load(tmp_path / "camera.toml")
    with pytest.raises(ModelRefused, match=r"compact\.tflite"):
        guard.arm()
    decision = guard.decide({"speed": 20.0}, 10**9)
    assert decision.mode == Mode.SAFE_STOP
    assert guard.decide({"speed": 20.0}, 10**9 + 10**7).command["target_speed"] < 20.0


@pytest.mark.parametrize("token", ["", 5, b"x"])
def test_an_empty_operator_token_is_none(policy: Path, token: Any) -> None:
    with pytest.raises(ConfigError, match="operator_token"):
        Guard.load(policy, operator_token=token)
    guard = Guard.load(policy, operator_token="open")
    assert guard.rearm(token) == "wrong operator token"


def test_takeover_follows_the_person(bench: Bench) -> None:
    bench.guard.takeover()
    bench.signals["speed"] = 12.0
    bench.run(100, "thirty")
    assert not bench.decision.active
    assert bench.command == 12.0


def test_an_unknown_member_is_named(bench: Bench) -> None:
    with pytest.raises(KeyError, match="no member 'four'; there are one, two, three"):
        bench.guard.suggest("four", certain("ten"), 0, 0)


CHILD = """
import sys
import edgeguard
loaded = {m.split(".")[0] for m in sys.modules} | set(sys.modules)
heavy = {"onnxruntime", "ai_edge_litert", "tflite_runtime", "cv2", "torch", "matplotlib", "click",
         "rich", "attrs", "attr", "cattrs", "edgeguard.lab"}
assert not loaded & heavy, loaded & heavy
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("onnxruntime", "ai_edge_litert", "tflite_runtime"):
            raise ImportError(name + " is not installed")
sys.meta_path.insert(0, Refuse())
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.faults.bench import Bench
bench = Bench(Path(sys.argv[1])).nominal()
bench.run(1000, "ten")
assert bench.command < 17, bench.command
maps = Path("/proc/self/maps").read_text()
assert not any(name in maps for name in ("onnxruntime", "litert", "tflite")), "linked"
print("decided")
"""


def test_decides_with_no_runtime_installed(policy: Path) -> None:
    root = str(Path(__file__).resolve().parents[2])
    done = subprocess.run(
        [sys.executable, "-c", CHILD, str(policy), root],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == "decided\n", done.stderr


def test_closed_guard_still_decides(bench: Bench) -> None:
    bench.guard.close()
    bench.run(500)
    assert bench.decision.mode == Mode.FALLBACK


def test_a_closed_guard_hears_nobody_until_it_is_armed_again(bench: Bench) -> None:
    bench.guard.close()
    bench.run(500, "thirty")
    assert bench.decision.mode == Mode.FALLBACK and "MEMBER_LOST" in bench.decision.present
    bench.nominal()
