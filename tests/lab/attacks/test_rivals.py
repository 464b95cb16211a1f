# SPDX-License-Identifier: Apache-2.0
"""`edgeguard bench --only attacks`: what is held against what, and what is counted."""

from __future__ import annotations

from collections.abc import Callable

import torch

from edgeguard.cli import bench, bench_attacks
from edgeguard.cli.bench_attacks import speed, strength
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import images
from tests.lab.attacks.linear import LinearVictim

VICTIM = LinearVictim.random(3)
PIXELS, LABELS = VICTIM.near(4, 8)
X, Y = images(PIXELS), torch.from_numpy(LABELS)
Attack = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def first(count: int) -> Attack:
    """Fools on so many pictures, by a step straight across the border."""
    away = (VICTIM.w[1 - Y] - VICTIM.w[Y]).reshape(X.shape).sign()

    def attack(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        adv = x.clone()
        adv[:count] = (x + 0.5 * away).clamp(0, 1)[:count]
        return adv

    return attack


def test_a_fast_attack_that_finds_less_is_seen() -> None:
    ways = {"own": first(0), "art": first(6)}
    found = {f.id: f for f in speed("pgd", VICTIM, ways, X, Y, 1.5)}
    assert found["rivals.pgd.own.success"].value == 0
    assert found["rivals.pgd.art.success"].value == 6 / 8
    assert found["rivals.pgd.art.l2_median"].n == 6
    assert "rivals.pgd.own.l2_median" not in found  # of nothing
    times = [found[f"rivals.pgd.{way}.seconds"].value for way in ("art", "own")]
    assert found["rivals.pgd.speed"].value == times[0] / times[1]


def test_like_is_held_against_like() -> None:
    hits = {"own.pgd": 4, "art.pgd": 3, "foolbox.pgd": 5, "own.apgd": 4, "art.apgd": 4}
    ways = {way: first(count) for way, count in hits.items()}
    made = strength(VICTIM, Threat("linf", 0.5), ways, X, Y)
    assert {f.id: f.value * 8 for f in made} == {
        f"rivals.robust.128.{way}": count for way, count in hits.items()
    }
    assert {f.id: f.holds for f in made if f.bar is not None} == {
        "rivals.robust.128.own.pgd": False, "rivals.robust.128.own.apgd": True,
    }  # fmt: skip


def test_what_leaves_the_threat_is_brought_back_before_it_counts() -> None:
    ways = {"own.pgd": first(0), "art.pgd": first(8)}
    made = strength(VICTIM, Threat("linf", 0.0), ways, X, Y)
    assert [f.value for f in made] == [0, 0]


def test_the_seed_that_is_written_is_the_one_that_inputs_were_drawn_from() -> None:
    assert bench.seed_of("attacks") == bench_attacks.SEED
    assert bench.seed_of("guard") == bench.seed_of(None) == 0
