# SPDX-License-Identifier: Apache-2.0
"""Associations: the border's residual against plain arithmetic, and what is fitted on logs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard import _core
from edgeguard.errors import ConfigError
from edgeguard.evidence.associations import Wish, calibrate, read_logs, residual
from edgeguard.evidence.conformal import UNREADABLE, Debounce, UnsupportedWishError

PERIOD_US = 10_000
STEP = 1 / 65536


def spec(relation, scale=1.0, offset=0.0, delay_ms=0, least=0.0):
    return {
        "relation": relation, "a_kind": "signal", "a": 0, "b_kind": "signal", "b": 1,
        "scale": scale, "offset": round(offset * 65536), "least": round(least * 65536),
        "delay_us": delay_ms * 1000,
    }  # fmt: skip


def batch(made, a, b):
    return residual(made, np.asarray(a, float), np.asarray(b, float), PERIOD_US)


numbers = st.floats(-500, 500, allow_nan=False, width=32)
pairs = st.lists(st.tuples(numbers, numbers), min_size=1, max_size=40)
ORACLE = {
    "difference": lambda a, b: a - (0.5 * b + 2.0),
    "sum": lambda a, b: a + (0.5 * b + 2.0),
    "product": lambda a, b: a * b,
    "ratio": lambda a, b: a / b if abs(b) >= 1.0 else math.nan,
}


@settings(max_examples=60, deadline=None)
@given(pairs, st.sampled_from(sorted(ORACLE)))
def test_each_relation_is_what_it_says(values, relation):
    a, b = np.array(values, float).T
    line = {"scale": 0.5, "offset": 2.0} if relation in ("difference", "sum") else {}
    got = batch(spec(relation, least=1.0, **line), a, b)
    want = np.array([ORACLE[relation](x, y) for x, y in zip(a, b, strict=True)])
    want = np.clip(want, -32768.0, 32768.0 - STEP)  # it saturates, in the order of numbers
    # operands are rounded to a step: products carry that step times the other operand
    slack = STEP * (2 + np.abs(a) + np.abs(b)) * (1 + np.abs(a) if relation == "ratio" else 1)
    edge = np.abs(np.abs(b) - 1.0) < 2 * STEP if relation == "ratio" else np.zeros(len(b), bool)
    close = np.abs(got - want) <= slack
    assert (close | (np.isnan(got) & np.isnan(want)) | edge).all()


@pytest.mark.parametrize("delay_ms", [0, 10, 250, 2550])
def test_the_second_is_taken_as_long_ago_as_was_asked(delay_ms):
    b = np.arange(600.0)
    lag = delay_ms // 10
    got = batch(spec("difference", delay_ms=delay_ms), b, b)
    assert np.isnan(got[:lag]).all()  # not old enough yet: it says nothing
    assert (got[lag:] == lag).all()


@pytest.mark.parametrize("over_ms", [10, 100, 2550])
def test_a_rate_is_the_change_per_second(over_ms):
    ramp = 3.0 * np.arange(400) * 0.01
    got = batch(spec("rate", delay_ms=over_ms), ramp, ramp)
    assert np.isnan(got[: over_ms // 10]).all()
    assert got[over_ms // 10 :] == pytest.approx(3.0, abs=0.01)


def test_an_operand_that_is_absent_says_nothing_until_it_is_back():
    b = np.array([1.0, math.nan, 1.0, 1.0])
    assert np.isnan(batch(spec("difference"), np.ones(4), b)).tolist() == [
        False,
        True,
        False,
        False,
    ]


def test_a_spec_that_is_none_is_refused():
    for wrong in ({"relation": "wish"}, {"scale": math.inf}, {"a_kind": "moon"}):
        with pytest.raises(ValueError, match="association"):
            _core.association_batch({**spec("difference"), **wrong}, [0.0], [0.0], PERIOD_US)


@pytest.mark.parametrize("bad", [math.inf, -math.inf, 32767.0])
def test_an_operand_that_is_invalid_is_no_number_but_beyond_all_limits(bad):
    one, gone = np.ones(3), np.array([1.0, bad, 1.0])
    assert batch(spec("difference"), one, gone).tolist() == [0.0, math.inf, 0.0]
    assert batch(spec("difference"), gone, one).tolist() == [0.0, math.inf, 0.0]
    late = batch(spec("difference", delay_ms=10), one, gone)
    assert math.isnan(late[0]) and late[1:].tolist() == [0.0, math.inf]


def wish(find, relation="difference", rate=60.0, ranges=((0, 250 * 65536),) * 2, **made):
    return Wish("pair", spec(relation, **made), ("speed", "wheel"), ranges, find,
                Debounce(200_000, 10**6), rate)  # fmt: skip


def stretches(n=40, seed=0, scale=3.6, offset=0.5, noise=0.05):
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(n):
        speed = rng.uniform(0, 30) + np.cumsum(rng.normal(0, 0.01, 1000))
        found.append({"speed": scale * speed + offset + rng.normal(0, noise, 1000), "wheel": speed})
    return found


def test_the_line_is_found_and_its_limits_hold_for_new_stretches():
    found = calibrate(stretches(), wish(("scale", "offset", "above", "below")), PERIOD_US)
    assert found.line["scale"] == pytest.approx(3.6, abs=0.01)
    assert found.line["offset"] == pytest.approx(0.5, abs=0.1)
    made = spec("difference", **found.line)
    low, high = (found.limit[side].value / 65536 for side in ("below", "above"))
    assert low < 0 < high
    promised = 60 * 10 / 3600  # an hour, of stretches of ten seconds
    assert sum(limit.alpha for limit in found.limit.values()) == pytest.approx(promised)
    tripped = 0
    for s in stretches(300, seed=1):
        r = residual(made, s["speed"], s["wheel"], PERIOD_US)
        tripped += Debounce(200_000, 10**6).trips((r > high) | (r < low), PERIOD_US) > 0
    assert tripped <= 300 * promised + 3 * math.sqrt(50)  # what was asked for, and chance
    broken = stretches(1, seed=2, offset=3.0)[0]
    r = residual(made, broken["speed"], broken["wheel"], PERIOD_US)
    assert Debounce(200_000, 10**6).trips(r > high, PERIOD_US) == 1


def test_a_delayed_response_is_fitted_at_its_delay():
    rng = np.random.default_rng(3)
    made = []
    for _ in range(12):
        command = np.cumsum(rng.normal(0, 0.2, 1000))
        measured = np.r_[np.zeros(30), command[:-30]] * 0.9
        made.append({"speed": measured, "wheel": command})
    found = calibrate(made, wish(("scale",), delay_ms=300), PERIOD_US)
    assert found.line == {"scale": pytest.approx(0.9, abs=1e-3)}


@pytest.mark.parametrize("bad", [math.nan, -0.5, 250.1], ids=["missing", "below", "above"])
def test_a_signal_that_the_guard_would_refuse_is_a_trip_of_the_log_as_well(bad):
    logs = stretches()
    logs[4]["wheel"][300:400] = bad  # for a second, and the debounce is 0.2 s
    found = calibrate(logs, wish(("scale", "offset", "above", "below"), rate=24.0), PERIOD_US)
    assert found.line["scale"] == pytest.approx(3.6, abs=0.01)
    for limit in found.limit.values():
        assert (limit.tripped, limit.firings) == (1, 1)
        assert abs(limit.value) < 2 * 65536
    assert sum(int((track == UNREADABLE).sum()) for track in found.tracks) == 100
    for log in logs:
        log["wheel"][300:400] = bad
    with pytest.raises(UnsupportedWishError, match="unreadable numbers alone, 360 times per hour"):
        calibrate(logs, wish(("above",), scale=3.6), PERIOD_US)


def test_a_member_that_abstains_in_a_log_says_nothing_there():
    logs = stretches()
    for log in logs:
        log["wheel"][300:400] = math.nan
    ranges = ((0, 250 * 65536), None)
    found = calibrate(logs, wish(("above",), rate=12.0, scale=3.6, ranges=ranges), PERIOD_US)
    assert found.limit["above"].firings == 0


def test_logs_without_one_readable_pair_are_refused():
    logs = [{"speed": np.ones(1000), "wheel": np.full(1000, math.nan)}] * 9
    with pytest.raises(ConfigError, match="never says a number"):
        calibrate(logs, wish(("above", "below")), PERIOD_US)


@pytest.mark.parametrize("still", ["speed", "wheel"])
@pytest.mark.parametrize("find", [("scale", "offset", "above"), ("above", "below"), ()])
def test_what_never_changes_is_fitted_to_nothing(still, find):
    logs = stretches()
    for log in logs:
        log[still][:] = 13.9
        log[still][500] = math.nan  # an invalid moment is no change
    with pytest.raises(ConfigError, match=rf'detector.pair: "{still}" is 13\.9 all along'):
        calibrate(logs, wish(find), PERIOD_US)


def test_a_line_needs_a_change_where_it_is_fitted():
    logs = stretches()
    for log in logs[2::4]:
        log["wheel"][:] = 0.0
    with pytest.raises(ConfigError, match=r'"wheel" is 0 all along the stretches that the line'):
        calibrate(logs, wish(("scale", "above")), PERIOD_US)
    assert calibrate(logs, wish(("offset", "above"), scale=3.6), PERIOD_US).limit


def test_what_the_logs_cannot_support_is_refused():
    with pytest.raises(UnsupportedWishError, match="ask for no less than"):
        calibrate(stretches(), wish(("above",), rate=0.1), PERIOD_US)
    with pytest.raises(ConfigError, match="8"):
        calibrate(stretches(5), wish(("above",)), PERIOD_US)
    with pytest.raises(ConfigError, match='no column "wheel"'):
        calibrate([{"speed": np.zeros(10)}] * 9, wish(("above",)), PERIOD_US)


@pytest.mark.parametrize("sides", [("above",), ("below",), ("above", "below")])
def test_a_relation_that_hardly_ever_speaks_gets_no_limit(sides):
    """Without one it keeps its promise, and the guard would refuse what comes out as one."""
    logs = stretches(400)
    for log in logs[: len(logs) * 49 // 50]:
        log["wheel"][:-5] = 0.0  # below `least`
        log["wheel"][-5:] = 0.001
    with pytest.raises(ConfigError, match=r"detector.pair: says a number in \d+ of \d+ stretches"):
        calibrate(logs, wish(sides, relation="ratio", least=1.0, rate=60.0), PERIOD_US)


def test_a_log_is_held_between_its_samples_and_cut_at_gaps(tmp_path):
    path = tmp_path / "log.csv"
    t = np.r_[np.arange(0, 25, 0.1), np.arange(100, 121, 0.1)]
    path.write_text("t,speed\n" + "".join(f"{x:.3f},{x:.3f}\n" for x in t))
    found = read_logs([path], PERIOD_US)
    assert len(found) == 4 and all(len(s["speed"]) == 1000 for s in found)
    clock = np.arange(1000) * 0.01
    lag = clock - found[0]["speed"]
    assert lag.min() > -0.011 and lag.max() < 0.111
    assert found[2]["speed"][0] == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", "speed\n1\n", 'no column "t"'),
        ("a.csv", "t,speed\n1,1\n0,1\n", "does not fall"),
        ("a.csv", "t,speed\nx,1\n", "does not fall"),
        ("a.jsonl", "{no", "no log of signals"),
        ("a.jsonl", "", "has no rows"),
        ("a.csv", "", "has no rows"),
        ("a.csv", "t,speed\n", "has no rows"),
        ("a.csv", "t;speed\n", "separated by semicolons; want commas"),
        ("a.csv", "t;speed\n0;1\n", "separated by semicolons; want commas"),
        ("a.csv", "\ufefft\tspeed\n0\t1\n", "separated by tabs; want commas"),
    ],
)
def test_a_broken_log_is_refused_with_its_name(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigError, match=said) as refused:
        read_logs([tmp_path / name], PERIOD_US)
    assert name in str(refused.value)


@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "as Excel saves it"])
def test_jsonl_reads_as_csv(tmp_path, mark):
    t = np.arange(0, 10.1, 0.05)
    (tmp_path / "a.csv").write_text(mark + "t,x\n" + "".join(f"{v},{v}\n" for v in t))
    (tmp_path / "a.jsonl").write_text(mark + "".join(f'{{"t": {v}, "x": {v}}}\n' for v in t))
    one, two = (read_logs([tmp_path / n], PERIOD_US)[0]["x"] for n in ("a.csv", "a.jsonl"))
    assert (one == two).all()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("same.csv", "t,x,y\n0,1,2\n60,2,\n"),
        ("lines.csv", "t,x,y\r\n0,1,2\r\n60,2,\r\n"),
        ("turned.csv", "t,y,x\n0,2,1\n60,,2\n"),
        ("other.jsonl", '{"t": 0, "x": 1, "y": 2}\n{"t": 60.0, "x": 2}\n'),
    ],
)
def test_a_drive_counts_once_whatever_its_file_is_called(tmp_path, name, text):
    (tmp_path / "drive.csv").write_text("t,x,y\n0,1,2\n60,2,\n")
    (tmp_path / "later.csv").write_text("t,x,y\n100,1,2\n160,2,\n")
    (tmp_path / name).write_text(text)
    read_logs([tmp_path / "drive.csv", tmp_path / "later.csv"], PERIOD_US)
    with pytest.raises(ConfigError, match=rf"{name}: holds the same drive as .*drive\.csv"):
        read_logs([tmp_path / n for n in ("drive.csv", "later.csv", name)], PERIOD_US)
    with pytest.raises(ConfigError, match=r"drive\.csv: holds the same drive as .*drive\.csv"):
        read_logs([tmp_path / "drive.csv"] * 2, PERIOD_US)


@pytest.mark.parametrize("period_s", [0.1, 1.0])
def test_a_log_with_unix_times_reads_as_one_from_zero(tmp_path, period_s):
    t = np.arange(0, 41, period_s)
    seen = []
    for name, start in (("zero", 0.0), ("unix", 1.7e9)):
        path = tmp_path / f"{name}.csv"
        path.write_text("t,x\n" + "".join(f"{start + v:.3f},{v}\n" for v in t))
        seen.append([s["x"] for s in read_logs([path], PERIOD_US)])
    assert len(seen[0]) == 4
    assert np.array_equal(*seen)
    assert (np.concatenate(seen[0])[:: round(100 * period_s)] == t[: round(40 / period_s)]).all()


@pytest.mark.parametrize("faster", [2, 5])
def test_a_loop_that_runs_faster_than_declared_still_looks_back(faster):
    period_us = PERIOD_US // faster
    b = np.arange(3000.0)
    got = residual(spec("difference", delay_ms=2550), b, b, period_us)
    lag = 2_550_000 // period_us
    assert np.isnan(got[:lag]).all()
    assert (got[lag:] >= lag).all() and (got[lag:] < lag + faster).all()
