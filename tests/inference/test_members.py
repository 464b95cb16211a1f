# SPDX-License-Identifier: Apache-2.0
"""Members in the deciding process, the restart budget, and opening several at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tiny_models import build, images, reference, tiny, weights

from edgeguard.errors import InferenceError, ModelRefused
from edgeguard.inference.members import InProcess, MemberSpec, RestartBudget, Result, open_members


class Clock:
    """Nanoseconds that a test moves; each look takes a microsecond."""

    def __init__(self) -> None:
        self.now = 0

    def __call__(self) -> int:
        self.now += 1000
        return self.now


def test_a_result_tells_serial_capture_and_how_long_it_took(tmp_path: Path) -> None:
    member = InProcess(MemberSpec("m", tiny(tmp_path)), clock=Clock())
    image = images()[2]
    member.input[0] = image
    assert member.submit(41, 7_000)
    result = member.poll()
    assert result is not None
    assert (result.serial, result.t_capture_ns, result.took_ns) == (41, 7_000, 1000)
    assert np.array_equal(member.scores, reference(build(weights()), image[None])[0])
    assert member.poll() is None


def test_latency_counts_from_the_stamp_that_travels_with_the_request(tmp_path: Path) -> None:
    member = InProcess(MemberSpec("m", tiny(tmp_path)), clock=Clock())
    member.input[0] = images()[2]
    heard: list[Result | None] = []
    assert member.submit(41, 7_000, -5_000, lambda: heard.append(member.poll()))
    assert heard == [None], "accepted before it is answered"
    result = member.poll()
    assert result is not None
    assert result.took_ns == result.t_ready_ns + 5_000


def fails(member: InProcess, monkeypatch: pytest.MonkeyPatch, times: int) -> Callable[[], None]:
    """Let the runtime raise the next few times."""
    real, left = member._model.run, [times]

    def run() -> None:
        if left[0] > 0:
            left[0] -= 1
            raise InferenceError("tiny.onnx: out of memory")
        real()

    monkeypatch.setattr(member._model, "run", run)
    return run


def test_a_member_whose_runtime_raises_is_lost_and_comes_back_after_its_self_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    member = InProcess(MemberSpec("m", tiny(tmp_path), backoff_s=0.5), clock=clock)
    fails(member, monkeypatch, times=2)
    image = images()[1]
    member.input[0] = image
    assert not member.submit(1, 0)
    assert (member.alive, member.poll()) == (False, None)
    assert "out of memory" in member.reason
    assert not member.submit(2, 0), "the back-off has not passed"
    clock.now += 600_000_000
    assert not member.submit(3, 0), "the self-test raises too"
    clock.now += 1_100_000_000
    assert member.submit(4, 0)
    assert member.alive
    assert np.array_equal(member.input[0], image), "the self-test left its input behind"
    assert np.array_equal(member.scores, reference(build(weights()), image[None])[0])


def test_the_restart_budget_is_a_window_with_growing_pauses_and_then_spent(tmp_path: Path) -> None:
    spec = MemberSpec("m", tiny(tmp_path), restarts=3, restart_window_s=60, backoff_s=0.5)
    budget = RestartBudget(spec)
    assert [budget.delay(t) for t in (0.0, 1.0, 2.0)] == [0.5, 1.0, 2.0]
    assert budget.delay(10.0) == float("inf"), "the fourth within the window"
    assert budget.delay(200.0) == 0.5
    never = RestartBudget(MemberSpec("m", tiny(tmp_path), restarts=0))
    assert never.delay(0.0) == float("inf")


def test_members_open_together_or_not_at_all(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    good, bad = tiny(tmp_path), tiny(tmp_path / "b")
    (tmp_path / "b" / "tiny.onnx").write_bytes(build(weights(8)))
    specs = [MemberSpec("a", good, isolation="process"), MemberSpec("b", bad, isolation="process")]
    with pytest.raises(ModelRefused, match=r"b/tiny\.onnx: is not the file of its card"):
        open_members(specs)
    with pytest.raises(ModelRefused, match="isolation: 'vm' is not one of"):
        open_members([MemberSpec("a", good, isolation="vm")])
    (member,) = open_members([MemberSpec("a", good)])
    assert (member.alive, member.pid, member.provider) == (True, None, "CPUExecutionProvider")
    member.close()
    assert not member.submit(1, 0)
