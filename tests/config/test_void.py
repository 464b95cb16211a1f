# SPDX-License-Identifier: Apache-2.0
"""Numbers that are well formed and would void the very check that they belong to are refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from edgeguard import config
from edgeguard.errors import ConfigError

Edit = Callable[[str, str], Path]

RULE = '{ controller = "slow_and_hold", floor = 0.0 }'
FOLLOW = '{ controller = "follow", signal = "%s" }'
WATCHED = "[cause.FROZEN_INPUT]"
PAIR = """
[detector.pair]
kind = "association"
between = ["%s", "%s"]
relation = "difference"
above = 1.0
%s
[cause.FROZEN_INPUT]"""

LANE = 'may_suggest = ["steering"]'
BOTH = 'may_suggest = { target_speed = ["raise", "lower"] }'
DARK = 'feature = "black_share"\nabove = 0.8'
UNREACHABLE = [
    ("black_share", "above = 1", "between 0 and 1"),
    ("saturated_share", "below = 0", "between 0 and 1"),
    ("mean", "below = 0", "between 0 and 255"),
    ("mean", "above = 255", "between 0 and 255"),
    ("mean", "below = 256", "never, or always"),
    ("contrast", "above = 127.5", "between 0 and 127.5"),
    ("contrast", "below = 0", "between 0 and 127.5"),
    ("sharpness", "below = -5", "between 0 and 255"),
]
ECHOES = """
[detector.again]
kind = "history"
member = "plain"
feature = "echoes"
above = 600
[cause.FROZEN_INPUT]"""
REACHABLE = ["above = 0", "above = 254.9", "below = 0.1", "below = 255"]

# text in the example, what replaces it, key path, phrase
REFUSED = [
    # one unit, for nothing is converted
    (RULE, FOLLOW % "speed", "channel.steering.fallback.signal",
     "[signal.speed] is in m/s, the channel in rad"),
    (WATCHED, PAIR % ("speed", "heading", ""), "detector.pair.scale",
     "speed is in m/s, heading in rad"),
    (WATCHED, PAIR % ("channel.steering", "plain", "offset = 0.1"), "detector.pair.scale",
     "channel.steering is in rad, plain in m/s"),
    # ranges
    ("range = [0.0, 70.0]", "range = [0.0, 35.0]", "channel.target_speed.measured",
     "valid in [0, 35] only"),
    ("range = [0.0, 36.2]\nrise", "range = [-1.0, 36.2]\nrise", "channel.target_speed.measured",
     "widen the signal's range"),
    ("dispersion = 0.1", "dispersion = 1.0", "channel.steering.dispersion",
     "any two members would support each other"),
    ("standstill_below = 0.1", "standstill_below = 70.0", "rearm.standstill_below",
     "every speed is standstill"),
    ("standstill_below = 0.1", "standstill_below = 1e-5", "rearm.standstill_below",
     "less than the core's smallest step (1/65536 m/s)"),
    # ages: what is held has to last until the next one is there
    ("max_age_ms = 250\nframe", "max_age_ms = 109\nframe", "camera.front.max_age_ms",
     "a control period (110 ms)"),
    ("max_age_ms = 250\nmay", "max_age_ms = 109\nmay", "member.plain.max_age_ms",
     "a control period (110 ms)"),
    # modes: what can only flap
    (LANE, f'{LANE}\nin_modes = ["DEGRADED", "FALLBACK"]', "member.lane.in_modes",
     "leaves out NOMINAL"),
    (BOTH, f'{BOTH}\nin_modes = ["NOMINAL", "FALLBACK"]', "channel.target_speed.raise.quorum",
     "1 members may raise this channel in DEGRADED (plain)"),
    (BOTH, f'{BOTH}\nin_modes = ["DEGRADED", "FALLBACK"]', "channel.target_speed.raise.quorum",
     "NOMINAL would be left each time"),
    # limits that no number passes, or all do
    *((DARK, f'feature = "{feature}"\n{limit}', f"detector.dark.{limit.split()[0]}", phrase)
      for feature, limit, phrase in UNREACHABLE),
    ('feature = "energy"\nabove = -2.0\nbelow = -30.0', 'feature = "entropy"\nbelow = 0',
     "detector.odd.below", "at 0 or above"),
    (WATCHED, ECHOES, "detector.again.above", "between 0 and 512"),
    # sanity that no answer has
    (LANE, f"{LANE}\nmin_distinct = 2", "member.lane.min_distinct", "the model has 1 score;"),
]  # fmt: skip

TAKEN = [
    (RULE, FOLLOW % "heading"),
    (WATCHED, PAIR % ("lane", "channel.steering", "")),
    (WATCHED, PAIR % ("speed", "heading", "scale = 2.0")),
    ("range = [0.0, 70.0]", "range = [0.0, 36.2]"),
    ("dispersion = 0.1", "dispersion = 0.99"),
    ("standstill_below = 0.1", "standstill_below = 69.9"),
    ("standstill_below = 0.1", "standstill_below = 1.6e-5"),
    (LANE, f"{LANE}\nmin_distinct = 1"),
    ("max_age_ms = 250\nframe", "max_age_ms = 110\nframe"),
    ("max_age_ms = 300\nmay_suggest = [", "max_age_ms = 110\nmay_suggest = ["),
    (LANE, f'{LANE}\nin_modes = ["NOMINAL", "DEGRADED", "FALLBACK"]'),
    *((DARK, f'feature = "mean"\n{limit}') for limit in REACHABLE),
]


@pytest.mark.parametrize("row", REFUSED, ids=[f"{r[2]}-{r[3][:24]}" for r in REFUSED])
def test_what_voids_a_check_is_refused(edited: Edit, row: tuple[str, str, str, str]) -> None:
    old, new, path, phrase = row
    file = edited(old, new)
    with pytest.raises(ConfigError) as refused:
        config.load(file)
    (line,) = [line for line in str(refused.value).splitlines() if f": {path}: " in line]
    assert line.startswith(f"{file}:") and phrase in line


@pytest.mark.parametrize(("old", "new"), TAKEN)
def test_what_still_checks_something_is_taken(edited: Edit, old: str, new: str) -> None:
    config.load(edited(old, new))


@pytest.mark.parametrize("written", ["3", "true"])
def test_a_section_that_is_no_table_is_refused_once(folder: Path, written: str) -> None:
    file = folder / "guard.toml"
    text = file.read_text()
    file.write_text(f"cause = {written}\n" + text[: text.index(WATCHED)])
    with pytest.raises(ConfigError, match=r":1: cause: is no table; write \[cause\.NAME\]$"):
        config.load(file)


def test_a_broken_row_of_a_cause_does_not_hide_what_else_is_wrong(edited: Edit) -> None:
    row = "[cause.UNAUTHORIZED_SUGGESTION]\non_ms = -1\n"
    with pytest.raises(ConfigError, match=r"cause\.UNAUTHORIZED_SUGGESTION\.on_ms: is -1"):
        config.load(edited(WATCHED, row + WATCHED))
