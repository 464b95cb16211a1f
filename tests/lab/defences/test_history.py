# SPDX-License-Identifier: Apache-2.0
"""Blacklight's fingerprints: a picture is known again, and no other."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

pytest.importorskip("PIL", reason="the lab needs its extra")

from edgeguard.lab.defences.history import (
    KEPT,
    QUANTUM,
    WINDOW,
    Fingerprints,
    fingerprint,
    secret,
)

RNG = np.random.default_rng(11)


def picture(shape=(8, 8, 3)):
    return RNG.integers(0, 256, shape, dtype=np.uint8)


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
