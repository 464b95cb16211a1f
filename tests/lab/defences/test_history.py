# SPDX-License-Identifier: Apache-2.0
"""The history of inputs: a slow oracle, a search along a boundary, a drive, a parked car."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("PIL", reason="the lab needs its extra")

from edgeguard.lab.defences.history import (
    CELL,
    CONTRAST,
    KEPT,
    QUANTUM,
    WINDOW,
    Fingerprints,
    History,
    fingerprint,
    secret,
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


def test_a_fingerprint_knows_a_picture_again_and_no_other():
    prints, first = Fingerprints(secret(1)), picture((32, 32, 3))
    prints.see(first)
    assert prints.see(picture((32, 32, 3))) == 0
    changed = first.copy()
    changed[:4] = 255 - changed[:4]
    assert 0 < prints.see(changed) < KEPT
    assert prints.see(first) == KEPT


def test_equal_windows_have_equal_hashes_and_others_do_not():
    """Against SHA-256 of the same windows."""
    flat = picture((16, 16, 3))
    steps = (flat.ravel() // QUANTUM).tolist()
    windows = {hashlib.sha256(bytes(steps[i : i + WINDOW])).digest()
               for i in range(len(steps) - WINDOW + 1)}  # fmt: skip
    whole = np.lib.stride_tricks.sliding_window_view(np.array(steps, np.uint64), WINDOW)
    hashes = (whole * secret(3)).sum(1, dtype=np.uint64) >> np.uint64(16)
    assert len(np.unique(hashes)) == len(windows)
    assert np.isin(fingerprint(flat, secret(3)), hashes | np.uint64(1)).all()


def test_keys_differ():
    p = picture((32, 32, 3))
    assert not np.array_equal(fingerprint(p, secret()), fingerprint(p, secret()))
