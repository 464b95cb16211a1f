# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeguard import _core, config
from edgeguard.config import fixed, vocabulary
from edgeguard.config.defaults import default_causes
from edgeguard.errors import ConfigError

Edit = Callable[[str, str], Path]


def policy(file: Path) -> dict[str, Any]:
    cfg = config.load(file)
    made = config.policy_dict(cfg, config.load_cards(cfg))
    _core.Policy(made)
    return made


def test_the_words_are_those_of_the_core() -> None:
    assert vocabulary.CAUSES == _core.CAUSES
    assert tuple(mode.name for mode in _core.Mode) == vocabulary.SEVERITIES


def test_every_number_arrives_in_the_core(folder: Path) -> None:
    made = policy(folder / "guard.toml")
    assert (made["period_us"], made["max_gap_us"], made["controller_budget_us"]) == (
        10_000, 100_000, 2_000,
    )  # fmt: skip
    assert made["standstill_signal"] == 0
    assert made["cameras"] == [{"name": "front", "max_age_us": 250_000}]
    assert made["signals"][0] == {"name": "speed", "min": 0, "max": 70 << 16}
    assert [m["may"] for m in made["members"]] == [0b0011, 0b0011, 0b1100]
    assert made["members"][0]["deadline_us"] == 25_000
    assert made["members"][2]["scores"]["value_max"] == 0.5
    speed, steering = made["channels"]
    assert (speed["measured"], steering["measured"]) == (0, vocabulary.NO_SIGNAL)
    assert (speed["raise"]["quorum"], speed["lower"]["quorum"]) == (2, 1)
    assert (speed["raise"]["frames"], speed["lower"]["frames"]) == (3, 1)
    assert [row["at"] for row in speed["rows"]] == [0, 20 << 16]
    assert made["labels"] == [
        {"channel": 0, "value": round(5.56 * 65536)},
        {"channel": 0, "value": round(8.33 * 65536)},
        {"channel": 0, "value": 0},
        {"channel": -1, "value": 0},
        {"channel": -1, "value": 0},
    ]
    assert [d["source"] for d in made["detectors"]] == [0, 1]
    assert [vocabulary.CAUSES[d["cause"]] for d in made["detectors"]] == [
        "IMAGE_UNHEALTHY", "OUT_OF_DISTRIBUTION",
    ]  # fmt: skip
    frozen = made["causes"][vocabulary.CAUSES.index("FROZEN_INPUT")]
    assert frozen == {"severity": 2, "clears": 0, "asks_operator": 0, "on_us": 60_000,
                      "off_us": 500_000}  # fmt: skip


def test_limits_are_never_wider_than_asked(folder: Path) -> None:
    made = policy(folder / "guard.toml")
    speed = made["channels"][0]
    assert speed["rows"][0]["max"] / 65536 <= 36.2 < (speed["rows"][0]["max"] + 1) / 65536
    assert speed["raise"]["certainty"] / 65536 >= 0.98
    assert made["detectors"][0]["max"] / 65536 <= 0.8
    assert made["standstill_below"] / 65536 <= 0.1


def test_degraded_rows_are_the_strictest_of_both(folder: Path) -> None:
    rows = policy(folder / "guard.toml")["channels"][0]["degraded_rows"]
    assert [row["max"] for row in rows] == [fixed.q16_floor(22.2)] * 2
    assert [row["rise"] for row in rows] == [fixed.q16_floor(0.7)] * 2
    assert [row["fall"] for row in rows] == [4 << 16, 3 << 16]


def test_a_meaning_at_the_end_of_the_range_stays_inside_it(edited: Edit) -> None:
    made = policy(edited('"speed limit 30" = 8.33', '"speed limit 30" = 36.2'))
    assert made["labels"][1]["value"] == made["channels"][0]["rows"][0]["max"]


def test_without_rearm_and_with_causes_that_never_clear(edited: Edit) -> None:
    edited('[rearm]\nstandstill_signal = "speed"\nstandstill_below = 0.1\n', "")
    file = edited("[cause.FROZEN_INPUT]", '[cause.CONTROLLER_LOST]\nclears = "never"\n'
                  '[cause.INPUT_INVALID]\nclears = "never"\n[cause.FROZEN_INPUT]')  # fmt: skip
    assert policy(file)["standstill_signal"] == vocabulary.NO_SIGNAL


def test_the_longest_pause_is_ten_periods_unless_given(edited: Edit) -> None:
    assert policy(edited("max_gap_ms = 100\n", ""))["max_gap_us"] == 100_000


def test_default_rows_cover_every_cause_and_pass_the_core() -> None:
    rows = default_causes()
    assert tuple(rows) == vocabulary.CAUSES
    for name, row in rows.items():
        assert row.off_ms >= row.on_ms, name
        assert row.severity != "SAFE_STOP" or row.clears != "itself", name
    for name in vocabulary.CAUSES:
        assert f"[cause.{name}] # " in config.defaults_text(), f"{name} gives no reason"


def test_bounds_are_debounce_plus_two_periods(folder: Path) -> None:
    bounds = config.bounds(config.load(folder / "guard.toml"))
    assert bounds["FROZEN_INPUT"] == config.Bound(100.0, 80.0, 620.0)
    assert bounds["FRAME_LOST"] == config.Bound(250.0, 20.0, 20.0)
    assert bounds["LATE"].evidence_ms == 30.0
    assert bounds["MEMBER_LOST"] == config.Bound(300.0, 20.0, 20.0)  # silence, of any of them
    assert bounds["BUS_INTRUSION"].evidence_ms == 0.0


@pytest.mark.parametrize(("keys", "silence_ms"), [("", 1000.0), ("max_age_ms = 1500\n", 1500.0)])
def test_a_bus_that_falls_silent_is_an_intrusion_after_its_age(
    edited: Edit, keys: str, silence_ms: float
) -> None:
    quick = '[detector.quick]\nkind = "bus"\nfeature = "rate"\nabove = 1.1\nmax_age_ms = 200\n'
    slow = f'[detector.slow]\nkind = "bus"\nfeature = "replay"\nabove = 1\n{keys}'
    file = edited("[cause.FROZEN_INPUT]", f"{quick}{slow}[cause.FROZEN_INPUT]")
    assert config.bounds(config.load(file))["BUS_INTRUSION"].evidence_ms == silence_ms


def test_the_core_acts_within_the_printed_bound_of_a_flapping_fault() -> None:
    present = ([True] * 21 + [False] * 79) * 20  # 21 % of the time, one sample a millisecond
    trips = _core.debounce_trips(present[: 10 * 60 + 20], 1000, 60_000, 500_000)
    assert trips == 1


@pytest.mark.parametrize("key", ["plain", "compact"])
def test_probabilities_may_miss_one_by_half_a_step_of_each_score(folder: Path, key: str) -> None:
    card = json.loads((folder / f"{key}.card.json").read_text())
    card["outputs"][0].update(kind="probabilities", scale=1 / 256, zero_point=-128)
    (folder / f"{key}.card.json").write_text(json.dumps(card))
    text = (folder / "guard.toml").read_text()
    if key == "plain":
        with pytest.raises(ConfigError, match="takes logits; plain"):
            policy(folder / "guard.toml")
    energy = 'feature = "energy"\nabove = -2.0\nbelow = -30.0'
    assert energy in text
    (folder / "guard.toml").write_text(text.replace(energy, 'feature = "entropy"\nabove = 2.0'))
    made = policy(folder / "guard.toml")
    member = next(m for m in made["members"] if m["name"] == key)
    assert member["sum_min"] < 65536 - 5 * 128 < 65536 + 5 * 128 < member["sum_max"]


@given(st.floats(-32767, 32767, allow_nan=False))
def test_rounding_keeps_its_direction(value: float) -> None:
    assert fixed.q16_floor(value) / 65536 <= value <= fixed.q16_ceil(value) / 65536
    assert abs(fixed.q16(value) / 65536 - value) <= 0.5 / 65536
    assert fixed.LEAST <= fixed.q16_floor(value) <= fixed.q16_ceil(value) <= fixed.MOST


@given(st.integers(fixed.LEAST + 65536, fixed.MOST - 65536))
def test_a_number_of_the_cores_own_steps_is_that_one(steps: int) -> None:
    """A calibration file writes it as the shortest text, which may be a little less or more."""
    value = float(repr(steps / 65536))
    assert fixed.q16_floor(value) == fixed.q16(value) == fixed.q16_ceil(value) == steps


@given(st.floats(0, 600_000, allow_nan=False))
def test_times_keep_their_direction(ms: float) -> None:
    assert fixed.us_floor(ms) <= ms * 1000 * (1 + 1e-12) + 1e-9
    assert fixed.us_ceil(ms) >= ms * 1000 * (1 - 1e-12) - 1e-9


def test_a_decimal_is_taken_as_it_is_written() -> None:
    assert fixed.us_floor(25.3) == fixed.us_ceil(25.3) == 25_300
