# SPDX-License-Identifier: Apache-2.0
"""Who may suggest what, and when: every forbidden pair is tried, and moves nothing."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from edgeguard import ConfigError, Guard, Mode
from tests.faults.bench import MEMBERS, POLICY, Bench, certain, write_policy

MODES = ("NOMINAL", "DEGRADED", "FALLBACK", "SAFE_STOP")
NOTED = """
[cause.UNAUTHORIZED_SUGGESTION]
severity = "NOMINAL"
on_ms = 0
off_ms = 0
"""


def guard(folder: Path, grant: str, policy: str = POLICY) -> Bench:
    """Three members; the third is granted only that, and no quorum needs it."""
    path = write_policy(folder, policy.replace("quorum = 3", "quorum = 2"))
    head, tail = path.read_text().split("[member.three]")
    path.write_text(head + "[member.three]" + tail.replace('may_suggest = ["target_speed"]', grant))
    return Bench(path)


@pytest.mark.parametrize("granted", ["raise", "lower"])
@pytest.mark.parametrize("asked", ["ten", "thirty"])
def test_operations(tmp_path: Path, granted: str, asked: str) -> None:
    """Against one voice for holding, one granted and one forbidden voice move nothing; with the
    grant they do."""
    bench = guard(tmp_path, f'may_suggest = {{ target_speed = ["{granted}"] }}', POLICY + NOTED)
    bench.nominal()
    start = bench.command
    for _ in range(40):
        bench.say(certain("twenty"), ("one",))
        bench.say(certain(asked), ("two", "three"))
        bench.tick()
        forbidden = granted != ("raise" if asked == "thirty" else "lower")
        assert ("UNAUTHORIZED_SUGGESTION" in bench.decision.present) is forbidden
    assert (bench.command == start) is forbidden


@pytest.mark.parametrize(
    ("allowed", "mode"),
    list(itertools.product((["NOMINAL"], ["NOMINAL", "FALLBACK"], MODES), MODES)),
)
def test_modes(tmp_path: Path, allowed: tuple[str, ...], mode: str) -> None:
    """In a mode that it is not granted the member has no voice, under its own cause."""
    given = ", ".join(f'"{m}"' for m in allowed)
    grant = f'may_suggest = ["target_speed"]\nin_modes = [{given}]'
    row = (
        NOTED
        + f'\n[cause.INPUT_INVALID]\nseverity = "{mode}"\non_ms = 0\noff_ms = 0\nclears = "rearm"\n'
    )
    bench = guard(tmp_path, grant, POLICY + (row if mode != "NOMINAL" else NOTED)).nominal()
    if mode != "NOMINAL":
        bench.signals["speed"] = float("nan")
        bench.tick()
        bench.signals["speed"] = 20.0
    bench.run(100, "twenty")
    assert bench.decision.mode.name == mode
    bench.say(certain("twenty"))
    bench.tick()
    heard = mode in allowed
    assert bench.decision.evidence["target_speed"]["voters"] == 2 + heard
    assert ("UNAUTHORIZED_SUGGESTION" in bench.decision.present) is not heard


def test_what_was_said_before_the_mode_changed_is_taken_back(tmp_path: Path) -> None:
    grant = 'may_suggest = ["target_speed"]\nin_modes = ["NOMINAL", "DEGRADED", "FALLBACK"]'
    path = write_policy(tmp_path)
    path.write_text(path.read_text().replace('may_suggest = ["target_speed"]', grant))
    bench = Bench(path).nominal()
    assert bench.decision.evidence["target_speed"]["voters"] == 3
    bench.signals["speed"] = float("nan")
    bench.run(60)
    assert bench.decision.mode == Mode.SAFE_STOP
    bench.tick()
    assert bench.decision.evidence["target_speed"]["voters"] == 0


def test_a_quorum_that_could_never_leave_fallback_is_refused(tmp_path: Path) -> None:
    path = write_policy(tmp_path, POLICY + NOTED)
    grant = 'may_suggest = ["target_speed"]\nin_modes = ["NOMINAL"]'
    path.write_text(path.read_text().replace('may_suggest = ["target_speed"]', grant, 1))
    with pytest.raises(ConfigError, match=r"quorum: is 3, but 2 members .*FALLBACK never be left"):
        Guard.load(path)


def test_a_cause_that_keeps_its_own_fallback_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"member\.three\.in_modes: leaves out DEGRADED"):
        guard(tmp_path, 'may_suggest = ["target_speed"]\nin_modes = ["NOMINAL"]')


def test_an_unknown_mode_is_named(tmp_path: Path) -> None:
    path = write_policy(tmp_path)
    path.write_text(path.read_text() + 'in_modes = ["SOMETIMES"]\n')
    with pytest.raises(ConfigError, match=rf"guard\.toml:\d+: member\.{MEMBERS[-1]}\.in_modes"):
        Guard.load(path)
