# SPDX-License-Identifier: Apache-2.0
"""What a member was shown and said: slow oracles, a search along a boundary, a drive, a parked
car."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgeguard.evidence.history import (
    CELL,
    CONTRAST,
    MOST_CHANGES,
    WINDOW_NS,
    Changes,
    History,
    changes_along,
)

RNG = np.random.default_rng(11)


def picture(shape=(8, 8, 3)):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


def near(a: np.ndarray, levels: int) -> np.ndarray:
    noise = RNG.integers(-levels, levels + 1, a.shape)
    return (a + noise).clip(0, 255).astype(np.uint8)


def cells(p: np.ndarray) -> list[int]:
    """Sums of cells, one by one."""
    rows, columns, channels = p.shape
    return [int(p[r : r + CELL, c : c + CELL, k].sum(dtype=int)) for r in range(0, rows, CELL)
            for c in range(0, columns, CELL) for k in range(channels)]  # fmt: skip


def slow(stream, near, memory):
    """What History says, computed from the whole past each time."""
    found, flips = [], []
    for i, (p, label) in enumerate(stream):
        past = list(range(max(0, i - memory), i))
        apart = {j: sum(abs(a - b) for a, b in zip(cells(p), cells(stream[j][0]), strict=True))
                 for j in past}  # fmt: skip
        own = cells(p)
        contrast = sum(abs(a - int(sum(own) / len(own))) for a in own) // CONTRAST
        most = min(near * CELL * CELL * len(own), contrast)
        alike = [j for j in past if apart[j] <= most]
        least = min(alike, key=lambda j: (apart[j], j % memory), default=None)
        flips.append(least is not None and stream[least][1] != label)
        found.append((len(alike), sum(flips[max(0, i - memory + 1) :])))
    return found


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2)), min_size=1, max_size=25))
def test_the_numbers_are_those_of_a_slow_oracle(moves):
    seeds = [picture() for _ in range(4)]
    stream = [(near(seeds[which], 9), label) for which, label in moves]
    history = History(near=6.0, memory=6)
    assert [tuple(history.see(*frame)) for frame in stream] == slow(stream, 6.0, 6)


def test_a_boundary_search_flips_and_a_parked_car_does_not():
    sign, search, parked = picture((32, 32, 3)), History(), History()
    for i in range(60):
        flips = search.see(near(sign, 4), i % 2).flips
        still = parked.see(near(sign, 4), 1).flips
    assert flips > 15 and still == 0


def test_pictures_of_other_things_have_no_echo():
    history = History()
    assert all(history.see(picture((32, 32, 3)), i)[0] == 0 for i in range(50))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 700)), min_size=1, max_size=40))
def test_changes_are_counted_in_the_second_up_to_an_answer(moves):
    count, now, said, changed = Changes(), 0, [], []
    for label, wait_ms in moves:
        now += wait_ms * 10**6
        changed += [now] if not said or said[-1] != label else []
        said.append(label)
        assert count.said(label, now) == sum(now - then < WINDOW_NS for then in changed)


@pytest.mark.parametrize("back_ns", [1, 10**6, WINDOW_NS - 1, WINDOW_NS, 5 * WINDOW_NS, 10**15])
def test_an_answer_out_of_its_order_takes_nothing_away(back_ns):
    count, now = Changes(), 10**10
    assert [count.said(label, now) for label in (0, 1, 0)] == [1, 2, 3]
    assert count.said(0, now - back_ns) == 3
    assert count.said(1, now + 1) == 4


@pytest.mark.parametrize("back_ns", [1, WINDOW_NS, 10**15])
def test_after_a_clock_that_ran_back_the_changes_last_for_one_window(back_ns):
    count, now = Changes(), 10**10
    assert [count.said(label, now + 10**8 * label) for label in (0, 1, 2)] == [1, 2, 3]
    now -= back_ns
    count.begin_at(now)
    assert count.said(2, now) == 3
    assert count.said(2, now + WINDOW_NS - 1) == 3
    assert count.said(2, now + WINDOW_NS) == 0


def test_changes_without_end_are_no_more_than_so_many():
    count = Changes()
    assert max(count.said(i % 2, 0) for i in range(3 * MOST_CHANGES)) == MOST_CHANGES


def test_each_track_comes_after_something_else():
    labels = np.array([4, 4, 4, 4, 4, 7, 4])
    found = changes_along(labels, [slice(0, 3), slice(3, 7)], rate_hz=2.5)
    assert found.tolist() == [1, 1, 1, 1, 1, 2, 2]  # 0.4 s apart: the first one is out by the third
