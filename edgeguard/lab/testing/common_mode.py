# SPDX-License-Identifier: Apache-2.0
"""F10, F11: pictures spoilt by weather, light and wear, and by static attacks. How often do the
members agree on a wrong answer, what does the guard accept of it, and what do detectors see?

The pictures are the last ten of every track of the shipped stream: signs that no model was trained
on, given to the guard's own preprocessing and evidence kernels. A picture is judged alone, debounce
off. The unit is the track: intervals are over tracks, since its frames are not independent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import track
from rich.table import Table

from edgeguard.card import Card
from edgeguard.config import GuardConfig, load, load_cards, model_path, policy_dict
from edgeguard.config.vocabulary import IMAGE_FEATURES, OPERATIONS
from edgeguard.evidence.selective import Bools, Ints, vote
from edgeguard.figures import Figure
from edgeguard.intake.camera import Camera
from edgeguard.intake.preprocess import InputSpec
from edgeguard.lab.testing.corruptions import KINDS, STRENGTHS, U8
from edgeguard.lab.testing.flips import Run, evidence, runner
from edgeguard.lab.testing.report import interval
from edgeguard.lab.testing.wrong import Rule
from edgeguard.streams.stream import SignStream
from edgeguard.streams.stream import load as load_stream
from edgeguard.zoo import models_dir

CLEAN = "clean"
LAST = 10
"""Frames of a track, the nearest ones: what is far is unsure without any fault."""
Array = npt.NDArray[Any]


@dataclass
class Seen:
    """One condition: what every picture led to, all [N]."""

    name: str
    number: list[int] = field(default_factory=list)
    """Which track."""
    true: list[int] = field(default_factory=list)
    tensors: dict[str, list[Array]] = field(default_factory=dict)
    unhealthy: list[bool] = field(default_factory=list)
    """An image detector of the policy tripped."""


@dataclass(frozen=True)
class Outcome:
    """What one condition adds up to; shares of its pictures."""

    name: str
    tracks: int
    pictures: int
    accuracy: dict[str, float]
    accepted: float
    """A command that the vote would take, right or wrong."""
    flagged: float
    """An image detector tripped, or nothing was accepted."""
    common: tuple[int, int]
    """Tracks with a picture on which a quorum agrees on the same wrong and daring answer; of."""
    agreed: int
    """Pictures on which a quorum so agrees."""
    unsure: int
    """Of those: not taken for want of certainty, or of a larger quorum."""
    unhealthy: int
    """Of those: an image detector trips, whatever the certainty."""
    wrong: tuple[int, int]
    """Tracks with a picture whose wrong command the whole guard would take; of."""


def run(policy: Path, quick: bool) -> list[Figure]:
    """Print the table. Raises EdgeguardError."""
    config = load(policy)
    cards = load_cards(config)
    table = policy_dict(config, cards)
    rule = Rule.of(config, table)
    rows = {row["name"]: row for row in table["members"]}
    runs = {n: runner(model_path(config, n, c).read_bytes(), c) for n, c in cards.items()}
    judge = Judge(rule, rows, runs)
    stream = load_stream(models_dir() / "stream.npz")
    conditions = list(_conditions(stream, LAST // 5 if quick else LAST))
    found = [
        judge.outcome(_seen(name, stream, cards, config, pictures))
        for name, pictures in track(conditions, "conditions", transient=True)
    ]
    _print(found)
    made = [figure for outcome in found for figure in figures(outcome)]
    return made + caught("vote.common_mode", [o for o in found if o.name != CLEAN])


Pictures = Callable[[], Iterator[tuple[int, U8 | None]]]


def _conditions(stream: SignStream, last: int) -> Iterator[tuple[str, Pictures]]:
    """Name, and how to make the pictures: (index of the frame, other sign or None)."""
    per = stream.per_track
    indices = [t * per + s for t in range(len(stream.tracks)) for s in range(per - last, per)]

    def corrupted(kind: str, strength: int) -> Iterator[tuple[int, U8 | None]]:
        rng = np.random.default_rng([strength, len(kind), *kind.encode()])
        for index in indices:
            sign = stream.tracks[index // per].frames[index % per]
            yield index, KINDS[kind](sign, strength, rng)

    yield CLEAN, lambda: iter([(index, None) for index in indices])
    for kind in KINDS:
        for strength in STRENGTHS:
            yield f"{kind}.{strength}", lambda k=kind, s=strength: corrupted(k, s)  # type: ignore[misc]
    for attack in sorted({a.kind for a in stream.attacks}):
        yield f"static_{attack}", lambda a=attack: _attacked(stream, a, last)  # type: ignore[misc]


def _attacked(stream: SignStream, kind: str, last: int) -> Iterator[tuple[int, U8 | None]]:
    for attack in stream.attacks:
        if attack.kind == kind:
            first = stream.where(attack.key) * stream.per_track
            for step in range(len(attack.frames) - last, len(attack.frames)):
                yield first + step, attack.frames[step]


def _seen(
    name: str, stream: SignStream, cards: dict[str, Card], config: GuardConfig, pictures: Pictures
) -> Seen:
    """Preprocess as deployed, and ask the image detectors."""
    specs = {member: InputSpec.of(card.input) for member, card in cards.items()}
    tensors = {spec: np.zeros(spec.shape, spec.dtype) for spec in set(specs.values())}
    camera = Camera(tensors, "BGR")
    seen = Seen(name, tensors={member: [] for member in cards})
    for index, sign in pictures():
        shot = stream.shot(index, 0, sign)
        health, *_ = camera.look(shot.frame, shot.box)
        seen.number.append(index // stream.per_track)
        seen.true.append(stream.labels[seen.number[-1]])
        seen.unhealthy.append(health is not None and _trips(config, health.features))
        for member, spec in specs.items():
            seen.tensors[member].append(tensors[spec].copy())
    return seen


def _trips(config: GuardConfig, features: Sequence[float]) -> bool:
    for detector in config.detectors.values():
        if detector.kind != "image" or detector.feature is None:
            continue
        value = features[IMAGE_FEATURES.index(detector.feature)]
        below, above = detector.below, detector.above
        if isinstance(below, float | int) and value < below:
            return True
        if isinstance(above, float | int) and value > above:
            return True
    return False


class Judge:
    """What the members say to pictures, and what the policy makes of it."""

    def __init__(self, rule: Rule, rows: dict[str, Any], runs: dict[str, Run]) -> None:
        self.rule, self.rows, self.runs = rule, rows, runs

    def outcome(self, seen: Seen) -> Outcome:
        """Ask every member about every picture."""
        said = [evidence(self.rows[m], self.runs[m](np.concatenate(seen.tensors[m])))
                for m in self.rows]  # fmt: skip
        labels, sure = (np.stack([found[k] for found in said], axis=1) for k in (0, 1))
        return self.added_up(seen, labels, sure)

    def added_up(self, seen: Seen, labels: Ints, sure: Ints) -> Outcome:
        """What the members said, labels and certainties [N, M], and what the policy makes of it."""
        true, number = np.array(seen.true), np.array(seen.number)
        healthy = ~np.array(seen.unhealthy)
        taken = [self.rule.taken(labels, sure, operation) >= 0 for operation in OPERATIONS]
        accepted = np.any(taken, axis=0) & healthy
        agreed, wrong = self._agree(labels, true), self.rule.wrong(labels, sure, true)
        return Outcome(
            name=seen.name,
            tracks=len(set(seen.number)),
            pictures=len(true),
            accuracy={m: float((labels[:, k] == true).mean()) for k, m in enumerate(self.rows)},
            accepted=float(accepted.mean()),
            flagged=float((~accepted).mean()),
            common=_tracks(number, agreed),
            agreed=int(agreed.sum()),
            unsure=int((agreed & ~wrong).sum()),
            unhealthy=int((agreed & ~healthy).sum()),
            wrong=_tracks(number, wrong & healthy),
        )

    def _agree(self, labels: Ints, true: Ints) -> Bools:
        """As many members as a quorum needs say the same, whatever their certainty, and it is
        above what the true sign allows."""
        demand = self.rule.demand["lower"]
        votes = vote(labels, np.zeros_like(labels), demand.granted, demand.quorum)
        return self.rule.above(np.where(votes.level >= 0, votes.winner, -1), true)


def _tracks(number: Array, hit: Array) -> tuple[int, int]:
    return len(set(number[hit].tolist())), len(set(number.tolist()))


def figures(outcome: Outcome) -> list[Figure]:
    """`common_mode.CONDITION.*`; the first id is the one that reports name."""
    at, n = f"vote.common_mode.{outcome.name}", outcome.tracks
    common, wrong = outcome.common[0], outcome.wrong[0]
    return [
        Figure(at, common / n, "1", n, interval(common, n)),
        Figure(f"{at}.wrong_commands", wrong / n, "1", n, interval(wrong, n)),
        Figure(f"{at}.flagged", outcome.flagged, "1", outcome.pictures),
        *caught(at, [outcome]),
    ]


def caught(at: str, found: Sequence[Outcome]) -> list[Figure]:
    """Of the pictures on which a quorum is wrong, the shares that certainty and that image
    detectors refuse, each apart; none where there is no such picture."""
    n = sum(outcome.agreed for outcome in found)
    if n == 0:
        return []
    unsure, unhealthy = sum(o.unsure for o in found), sum(o.unhealthy for o in found)
    return [
        Figure(f"{at}.caught_by_certainty", unsure / n, "1", n),
        Figure(f"{at}.caught_by_detectors", unhealthy / n, "1", n),
    ]


def _print(found: Sequence[Outcome]) -> None:
    names = list(found[0].accuracy)
    table = Table(title="F10, F11: spoilt pictures, each judged alone", title_justify="left")
    for name in (
        "condition",
        "tracks",
        *names,
        "not accepted",
        "a quorum is wrong",
        "certainty",
        "detectors",
        "guard is wrong",
    ):
        table.add_column(name, justify="left" if name == "condition" else "right")
    for o in found:
        table.add_row(
            o.name, f"{o.tracks}", *(f"{o.accuracy[n]:.1%}" for n in names), f"{o.flagged:.1%}",
            f"{o.common[0]} of {o.common[1]}", _share(o.unsure, o.agreed),
            _share(o.unhealthy, o.agreed), f"{o.wrong[0]} of {o.wrong[1]}",
            style="red" if o.wrong[0] else "",
        )  # fmt: skip
    table.caption = (
        "not accepted: no quorum, too little certainty, or an image detector trips; a quorum is"
        " wrong: tracks with a picture on which as many members as a quorum needs agree on a"
        " command above the limit; certainty, detectors: what they refuse of those pictures; guard"
        " is wrong: it would be taken before debounce, from whatever was commanded before"
    )
    Console(highlight=False, width=None if Console().is_terminal else 130).print(table)


def _share(k: int, n: int) -> str:
    return f"{k / n:.0%}" if n else "-"
