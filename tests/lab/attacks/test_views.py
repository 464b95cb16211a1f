# SPDX-License-Identifier: Apache-2.0
"""What a camera does to a picture, and stickers that have to survive it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from edgeguard.card import Card
from edgeguard.lab.attacks.eot import EOT, HELD_OUT, Views, jpeg, real_jpeg, survival, warped
from edgeguard.lab.attacks.rp2 import (
    MOST_COVER,
    PRINTABLE,
    RP2,
    SIDE,
    Sign,
    Sticker,
    ellipse,
    frames_with,
    unprintable,
)
from edgeguard.lab.attacks.signs import _one
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import Victim, images, to_pixels
from edgeguard.streams.stream import load
from edgeguard.zoo import models_dir
from tests.lab.attacks.linear import LinearVictim
from tests.lab.signs import signs

STOP, EIGHTY = 14, 5
STILL = Views(0, 0, 0, 0, 0, 0, (100, 100))


def test_views_without_ranges_change_nothing_but_jpeg() -> None:
    x = images(signs(4)[0])
    g = torch.Generator().manual_seed(0)
    torch.testing.assert_close(warped(x, STILL.geometry(4, g)), x, atol=1e-4, rtol=0)
    torch.testing.assert_close(STILL.light(x, g), x)
    assert (STILL(x, g) - x).abs().max() < 4 / 255  # quality 100 rounds coefficients


@pytest.mark.parametrize("quality", [40, 60, 75])
def test_jpeg_loses_what_pillows_loses(quality: int) -> None:
    """On grey pictures, where no colour is subsampled: much nearer to it than to the original."""
    x = images(signs(6)[0]).mean(1, keepdim=True).expand(-1, 3, -1, -1)
    ours = to_pixels(jpeg(x, [quality] * 6)).astype(int)
    for picture, got in zip(to_pixels(x), ours, strict=True):
        want = real_jpeg(np.ascontiguousarray(picture.transpose(1, 2, 0)), quality)
        lost = np.abs(picture.transpose(1, 2, 0).astype(int) - want).mean()
        assert np.abs(got.transpose(1, 2, 0) - want).mean() < 0.4 * lost


def test_a_half_turn_is_a_half_turn() -> None:
    x = images(signs(1)[0])
    turn = torch.diag(torch.tensor([-1.0, -1.0, 1.0]))[None]
    torch.testing.assert_close(warped(x, turn), x.flip(2, 3), atol=1e-4, rtol=0)


def test_eot_survives_views_better_than_one_step_without_them() -> None:
    victim = LinearVictim.random(3)
    pixels, y = victim.near(3, 24)
    x, t = images(pixels), torch.from_numpy(y)
    threat = Threat("linf", 24 / 255)
    views = Views(0, 0, 0.3, 0, 0.1, 0.01, (90, 95))
    made = EOT(threat, views, draws=8, steps=20)(victim, x, t)
    assert threat.allows(made - x).all()
    attacked = survival(victim, made, t, views, 8, 1).mean()
    clean = survival(victim, x, t, views, 8, 1).mean()
    assert attacked > clean + 0.1


def test_a_sticker_stays_on_its_sign() -> None:
    """Only pixels of the box change, wherever it is and however large."""
    frames = [np.full((40, 60, 3), 90, np.uint8), np.full((90, 70, 3), 90, np.uint8)]
    boxes = [(10.0, 5.0, 40.0, 35.0), (20.0, 30.0, 60.0, 80.0)]
    mask = torch.zeros(1, SIDE, SIDE)
    mask[:, 20:40, 20:44] = 1
    sticker = Sticker(torch.ones(3, SIDE, SIDE), mask)
    for frame, box in zip(frames_with(Sign(0, frames, boxes), sticker), boxes, strict=True):
        rows, columns = np.nonzero((frame != 90).any(2))
        assert box[0] <= columns.min() <= columns.max() < box[2]
        assert box[1] <= rows.min() <= rows.max() < box[3]
        assert frame.max() == 255
    inside = float((mask * ellipse()).sum() / ellipse().sum())
    assert sticker.cover == pytest.approx(inside)


def test_stickers_let_a_stop_sign_be_read_as_a_speed_limit() -> None:
    """On the deployed file, in views wider than those that they were made on; random colours in
    the same places do not."""
    track = next(t for t in load(models_dir() / "stream.npz").tracks if t.label == STOP)
    frames = [np.asarray(frame) for frame in track.frames[-6:]]
    boxes = [(0.1 * w, 0.1 * h, 0.9 * w, 0.9 * h) for h, w in (f.shape[:2] for f in frames)]
    path = models_dir() / "compact.tflite"
    victim = Victim(path, signs(5)[0], Card.beside(path))
    row = _one(victim, Sign(STOP, frames, boxes), RP2(EIGHTY, steps=60))
    assert 0.1 < row["cover"][0] <= MOST_COVER
    assert row["clean_right"][0] > 0.8
    assert row["targeted"][0] >= 0.8
    assert row["control"][0] <= row["targeted"][0] - 0.4
    assert row["hit"][0]
    changed = (row["pixels"][0] != row["clean"][0]).any(0)
    assert 0 < changed.mean() < 0.3


def test_printable_colours_cost_nothing() -> None:
    mask = torch.ones(1, SIDE, SIDE)
    paper = PRINTABLE[5][:, None, None].expand(3, SIDE, SIDE)
    assert float(unprintable(paper, mask)) < 1e-3
    assert float(unprintable(paper + 0.1, mask)) > 0.1


def test_held_out_views_are_wider() -> None:
    for name, value in vars(Views()).items():
        wider = getattr(HELD_OUT, name)
        assert wider[0] < value[0] if name == "jpeg" else wider > value
