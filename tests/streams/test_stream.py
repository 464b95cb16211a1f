# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from edgeguard.card import Card
from edgeguard.errors import EdgeguardError
from edgeguard.streams.pixels import pack, unpack
from edgeguard.streams.programme import programme
from edgeguard.streams.stream import SignStream, digests, load
from edgeguard.streams.truth import LIMIT_KMH, NO_RISE, limits_kmh
from edgeguard.zoo import models_dir


def test_packing_loses_nothing() -> None:
    rng = np.random.default_rng(3)
    pictures = [rng.integers(0, 256, (h, w, 3), np.uint8) for h, w in ((25, 27), (64, 1), (1, 5))]
    for before, after in zip(pictures, unpack(*pack(pictures)), strict=True):
        assert np.array_equal(before, after)


def test_pixels_that_do_not_fit_are_refused() -> None:
    packed, sizes = pack([np.zeros((4, 4, 3), np.uint8)])
    with pytest.raises(ValueError, match="pixels"):
        unpack(packed, sizes + 1)
    with pytest.raises(ValueError, match="cannot be read"):
        unpack(packed[:-4], sizes)


def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path) -> None:
    wrong = tmp_path / "stream.npz"
    with pytest.raises(EdgeguardError, match=r"stream\.npz"):
        load(wrong)
    np.savez(wrong, pixels=np.zeros(3, np.uint8))
    with pytest.raises(EdgeguardError, match="not a stream file"):
        load(wrong)


def test_the_stream_is_what_the_demo_promises(stream: SignStream) -> None:
    assert len({track.key for track in stream.tracks}) == len(stream.tracks) >= 36
    assert all(len(track.frames) == 30 for track in stream.tracks)
    assert max(max(f.shape[:2]) for t in stream.tracks for f in t.frames) <= 64
    assert (models_dir() / "stream.npz").stat().st_size < 6_000_000


def test_it_can_be_driven_safely(stream: SignStream) -> None:
    """No limit drops by more than can be braked away on one track at 4 m/s2 in half of its time."""
    limits = [stream.initial_kmh, *limits_kmh(stream.labels, stream.initial_kmh)]
    drops = [a - b for a, b in pairwise(limits)]
    sudden = [i for i, drop in enumerate(drops) if drop / 3.6 / 4.0 > 1.5]
    after_stop = [i for i in sudden if stream.labels[i - 1] in NO_RISE]
    assert sudden == after_stop


def test_the_sign_moves_and_stays_in_the_picture(stream: SignStream) -> None:
    seen = set()
    for index in range(0, stream.frames, 7):
        shot = stream.shot(index, 0)
        x, y, width, height = shot.box
        assert min(x, y) >= 0 and x + width <= 640 and y + height <= 480
        sign = stream.tracks[index // 30].frames[index % 30]
        assert np.array_equal(shot.frame[y : y + height, x : x + width, ::-1], sign)
        seen.add((x, y))
    assert len(seen) > stream.frames / 7 * 0.8


def test_the_same_seed_gives_the_same_frames(stream: SignStream) -> None:
    again, other = (load(models_dir() / "stream.npz", seed) for seed in (0, 1))
    assert np.array_equal(again.shot(700, 0).frame, stream.shot(700, 0).frame)
    assert not np.array_equal(other.shot(700, 0).frame, stream.shot(700, 0).frame)


def test_the_policy_is_the_one_that_was_fixed_before(stream: SignStream) -> None:
    assert digests(models_dir() / "guard.toml") == stream.frozen


def test_the_attacks_were_made_on_the_model_that_is_shipped() -> None:
    with np.load(models_dir() / "stream.npz") as file:
        attacked = json.loads(str(file["about"]))["attacked_model"]
    assert attacked["sha256"] == Card.load(models_dir() / "plain.card.json").sha256


def test_between_two_events_a_speed_sign_sets_things_right(stream: SignStream) -> None:
    starts = [entry.event.start // stream.per_track for entry in programme(stream)]
    for before, after in pairwise(starts):
        assert {*stream.labels[before + 1 : after]} & {*LIMIT_KMH, *NO_RISE}


def test_attacks_fool_the_model_that_they_were_made_against(stream: SignStream) -> None:
    assert {attack.kind for attack in stream.attacks} == {"pgd", "sticker"}
    for attack in stream.attacks:
        assert attack.fooled > 0
        clean = stream.tracks[stream.where(attack.key)].frames
        if attack.kind == "pgd":
            assert {frame.shape for frame in attack.frames} == {(32, 32, 3)}
        else:
            assert [f.shape for f in attack.frames] == [f.shape for f in clean]
