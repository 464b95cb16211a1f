# SPDX-License-Identifier: Apache-2.0
"""The card of a number or a label that comes from elsewhere, and that no core knows an adapter."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import edgeguard
from edgeguard import Guard
from edgeguard.adapters.card import choice, number
from edgeguard.card import Card
from edgeguard.errors import ConfigError

POLICY = """
[guard]
name = "one"
period_ms = 20
[signal.speed]
unit = "m/s"
range = [0.0, 10.0]
[rearm]
standstill_signal = "speed"
standstill_below = 0.1
[member.one]
runtime = "external"
card = "one.card.json"
deadline_ms = 40
max_age_ms = 50
may_suggest = ["turn"]
[controller]
budget_ms = 10.0
[channel.turn]
kind = "value"
unit = "rad/s"
range = [-1.0, 1.0]
rise = 40.0
fall = 40.0
stop = 0.0
dispersion = 0.1
fallback = { controller = "constant", value = 0.0 }
raise = { certainty = 0.5, quorum = 1 }
lower = { certainty = 0.5, quorum = 1 }
[cause.STALE_MODEL]
off_ms = 0
[cause.CONTROLLER_LOST]
on_ms = 60
"""


def write(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edgeguard.adapters.card", *arguments], cwd=folder,
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_what_the_command_writes_lets_a_number_through_within_its_range(tmp_path: Path) -> None:
    assert write("one.card.json", "-0.5", "0.5", "rad/s", folder=tmp_path).returncode == 0
    assert Card.load(tmp_path / "one.card.json") == number("one", -0.5, 0.5, "rad/s")
    (tmp_path / "guard.toml").write_text(POLICY)
    with Guard.load(tmp_path / "guard.toml") as guard:
        guard.arm()
        seen = {}
        for tick, value in enumerate((-0.5, 0.25, 0.5, 0.51, -0.6), start=1):
            t_ns = tick * 20_000_000
            guard.suggest("one", np.float32([value]), t_ns, t_ns)
            decision = guard.decide({"speed": 0.0}, t_ns)
            seen[value] = "SCORE_INSANE" in decision.present, decision.command["turn"]
    assert [insane for insane, _ in seen.values()] == [False, False, False, True, True]
    assert [command for _, command in seen.values()][:3] == [-0.5, 0.25, 0.5]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (("one.json", "0", "1"), "one.json: want a name that ends in .card.json"),
        (("one.card.json", "1", "1"), "one: range: want LOW below HIGH, both within 32767"),
        (("one.card.json", "0", "nan"), "of 0; got 0 and nan"),
        (("one.card.json", "-inf", "0"), "of 0; got -inf and 0"),
        (("one.card.json", "0", "1", "furlongs"), "one: unit: 'furlongs' is none of m/s, km/h"),
        (("nowhere/one.card.json", "0", "1"), "No such file or directory"),
        (("one.card.json",), "one.card.json: want LOW and HIGH, or --labels"),
        (("one.card.json", "0", "1", "--labels", "a,b"), "want LOW and HIGH, or --labels"),
        (("one.card.json", "--labels", "a"), "one: labels: want two or more, each once; got a"),
        (("one.card.json", "--labels", "a,b,a"), "each once; got a, b, a"),
        (("one.card.json", "--labels", "a,"), "each once; got a, "),
    ],
)
def test_what_is_no_card_is_said_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], complaint: str
) -> None:
    done = write(*arguments, folder=tmp_path)
    assert done.returncode == 1
    assert complaint in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.glob("*.json"))


def test_labels_make_a_card_of_a_classifier(tmp_path: Path) -> None:
    said = write("one.card.json", "--labels", "yes, no,perhaps", folder=tmp_path)
    assert said.returncode == 0, said.stderr
    card = Card.load(tmp_path / "one.card.json")
    assert card == choice("one", ("yes", "no", "perhaps"))
    assert (card.task, card.scores.kind, card.scores.size) == ("classifier", "probabilities", 3)


def test_a_card_that_is_there_stays_unless_it_may_go(tmp_path: Path) -> None:
    first = write("one.card.json", "-1", "1", folder=tmp_path)
    assert (first.returncode, first.stdout) == (
        0,
        "wrote one.card.json, in UNIT 1: a plain number\n",
    )
    again = write("one.card.json", "0", "30", "m/s", folder=tmp_path)
    assert (again.returncode, again.stderr) == (
        1,
        "Error: one.card.json: exists; --force overwrites it\n",
    )
    assert Card.load(tmp_path / "one.card.json") == number("one", -1, 1)
    forced = write("one.card.json", "0", "30", "m/s", "--force", folder=tmp_path)
    assert (forced.returncode, forced.stdout) == (0, "wrote one.card.json\n")
    assert Card.load(tmp_path / "one.card.json") == number("one", 0, 30, "m/s")


def test_a_range_that_is_none_is_refused_in_code_too() -> None:
    with pytest.raises(ConfigError, match="want LOW below HIGH"):
        number("one", 2.0, 1.0)


def test_nothing_in_the_runtime_imports_an_adapter() -> None:
    root = Path(edgeguard.__file__).parent
    allowed = ("adapters", "cli", "lab")
    for path in root.rglob("*.py"):
        if path.relative_to(root).parts[0] in allowed:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(n.startswith("edgeguard.adapters") for n in names), path
