# SPDX-License-Identifier: Apache-2.0
"""The whole guard under attack: adaptive, white box through every part and by its answers alone,
judged by the real guard; beside it each member alone, attacked as hard.

The hazard rate of single images: of those that the guard reads without harm and accepts when they
are clean, the share on which it accepts a command above what the true sign allows. Beside it stands
the clean coverage, of which pictures that cannot be judged are a part: they are shown and not
accepted. A member alone gets the strictest threshold with which it covers as many.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from edgeguard.errors import EdgeguardError
from edgeguard.figures import Figure
from edgeguard.lab.attacks import alone as lone
from edgeguard.lab.attacks import corpus
from edgeguard.lab.attacks.alone import Alone, At, at_coverage
from edgeguard.lab.attacks.campaign import digest_of
from edgeguard.lab.attacks.corpus import Array, Handful
from edgeguard.lab.attacks.guard_attacks import WAYS, Attacked
from edgeguard.lab.attacks.resting import FEWEST, Resting
from edgeguard.lab.attacks.threat import LEVELS, Threat
from edgeguard.lab.attacks.victim import U8, Ints, images
from edgeguard.lab.zoo.figures import rate
from edgeguard.provenance import key_of

BATCH = 25
QUERIES = 2000  # of the label-only attacker for each picture
BAR = 0.5  # of the best single member's hazard


@dataclass(frozen=True)
class Hazard:
    """What the guard did with n images, and each member alone at the same clean coverage."""

    levels: float
    shown: int
    rows: Handful
    """The guard's part of the corpus; `accepted`: clean and without harm, what the rate is of."""
    alone: Mapping[str, At]
    folders: Mapping[str, Path]
    """Where the pictures are, by member; "guard": the whole."""
    left_out: int = 0
    """Of those shown, not judged: the guard rests on no command that their sign allows."""

    @property
    def accepted(self) -> int:
        """Clean images that were accepted without harm."""
        return int(self.rows["accepted"].sum())

    @property
    def hit(self) -> int:
        """Of these, how many raised a command once attacked."""
        return self.count("hit")

    def count(self, column: str) -> int:
        """On how many of the accepted images a column of bools holds."""
        return int(self.rows[column][self.rows["accepted"]].sum())

    @property
    def best(self) -> tuple[str, At]:
        """The member that is safest alone."""
        return min(self.alone.items(), key=lambda item: item[1].hazard)

    @property
    def causes(self) -> dict[str, int]:
        """What stopped how many of the attacked pictures; one may be stopped by several."""
        words = self.rows["causes"][self.rows["accepted"]]
        return dict(Counter(c for line in words for c in str(line).split()).most_common())

    def figures(self, barred: bool) -> list[Figure]:
        """`guard.hazard.linf.R.*`; the first is the hazard. barred: with its bar, and with the
        coverage that the guard costs, which is the same at every radius."""
        at, name, best = f"guard.hazard.linf.{self.levels:g}", *self.best
        most = BAR * best.hazard
        holds = self.accepted > 0 and self.hit <= most * self.accepted if barred else None
        words = f"<= {most:.3g}, half of the best single member's ({name})" if barred else None
        own = rate(at, self.hit, self.accepted)
        found = [Figure(at, own.value, "1", own.n, own.interval, words, holds),
                 rate(f"{at}.best_member", best.hit, best.accepted)]  # fmt: skip
        if barred:
            found.append(rate("guard.clean.coverage", self.accepted, self.shown))
            found.append(Figure("guard.hazard.left_out", self.left_out, "1", self.shown))
        for member, single in self.alone.items():
            found.append(rate(f"{at}.alone.{member}", single.hit, single.accepted))
            found.append(rate(f"{at}.alone.{member}.coverage", single.accepted, single.shown))
        ways = [rate(f"{at}.{way}", self.count(way),
                     self.count("tried") if way == "label_only" else self.accepted)
                for way in WAYS]  # fmt: skip
        return found + ways + self._parts(at)

    def _parts(self, at: str) -> list[Figure]:
        """Which members said a dangerous label, and which causes stopped the command."""
        counted = self.rows["accepted"]
        fell = [rate(f"{at}.fell.{m}", int(self.rows["fell"][counted, i].sum()), self.accepted)
                for i, m in enumerate(self.alone)]  # fmt: skip
        return fell + [
            rate(f"{at}.stopped_by.{cause}", count, self.accepted)
            for cause, count in self.causes.items()
        ]


def hazard(
    resting: Resting, pixels: U8, y: Ints, levels: float, results: Path, queries: int = QUERIES,
    done: Callable[[int], None] = lambda n: None,
) -> Hazard:  # fmt: skip
    """Attack pictures [N, C, H, W] with labels [N]; what is in `results` is not made again.
    queries: of the label-only attacker for each picture that he is shown.

    Raises EdgeguardError, also where not one picture can be judged.
    """
    run = _Run(resting, pixels, y, Threat("linf", levels / LEVELS), results, queries)
    judged = 0
    for command, rows in resting.groups(y):
        for first in range(0, len(rows), BATCH):
            part = rows[first : first + BATCH]
            run.handful(command, first, pixels[part], y[part])
            judged += len(part)
            done(len(part))
    done(len(y) - judged)
    left_out = resting.left_out(y)
    if not judged:
        raise _nothing_judged(resting, len(y), left_out)
    made = {name: corpus.joined(rows) for name, rows in run.made.items()}
    guard = made.pop("guard")
    accepted = int(guard["accepted"].sum())
    alone = {name: at_coverage(rows, accepted, left_out) for name, rows in made.items()}
    return Hazard(levels, judged + left_out, guard, alone, run.folders, left_out)


def _nothing_judged(resting: Resting, n: int, left_out: int) -> EdgeguardError:
    where = f"{resting.target.policy}: none of {n} pictures can be judged: "
    if not left_out:
        return EdgeguardError(
            f"{where}above none of their classes more is commanded; give more with --data or --n"
        )
    return EdgeguardError(
        f"{where}for {left_out} the attacker's own pictures hold fewer than {FEWEST} of one class "
        "with the same command that the guard accepts, so it does not rest there, and above the "
        "other classes nothing is commanded; give more with --data"
    )


class _Run:
    """One radius: where its handfuls are, and what they hold so far."""

    def __init__(
        self, resting: Resting, pixels: U8, y: Ints, threat: Threat, results: Path,
        queries: int = QUERIES,
    ) -> None:  # fmt: skip
        """pixels, y: all pictures of the run and their labels; another choice has folders of its
        own, since what is read there afterwards is all that lies there. So has another edgeguard:
        all of it decides."""
        self.resting, self.target, self.threat = resting, resting.target, threat
        self.black = replace(threat, knowledge="labels", queries=queries)
        files = {name: victim.path for name, victim in self.target.victims.items()}
        shown = [np.ascontiguousarray(part).tobytes() for part in (pixels, y, *resting.own)]
        key = digest_of(files.values(), self.target.policy, self.target.state(),
                        key_of().encode(), repr((threat, self.black)).encode(), *shown)  # fmt: skip
        self.folders = {}
        for name, path in {"guard": self.target.policy, **files}.items():
            attack = "adaptive" if name == "guard" else "alone"
            self.folders[name] = results / name / f"{attack}.{threat.name}-{key}"
            corpus.begin(self.folders[name], corpus.about(path, attack, threat))
        self.made: dict[str, list[Handful]] = {name: [] for name in self.folders}

    def handful(self, command: float, first: int, pixels: U8, y: Ints) -> None:
        """Pictures that are met while a command is in force."""
        file = f"{round(command * 100):05d}-{first:04d}.npz"
        worst = []
        for name in self.target.victims:
            alone = Alone(self.target, name, command)
            make = partial(lone.attacked, alone, pixels, y, self.threat)
            worst.append(self._kept(name, file, pixels, y, make)["pixels"])
        make = partial(self._guard, command, pixels, y, worst)
        self._kept("guard", file, pixels, y, make)

    def _kept(
        self, name: str, file: str, pixels: U8, y: Ints, make: Callable[[], Handful]
    ) -> Handful:
        row = corpus.kept(self.folders[name] / file, pixels, y)
        if row is None:
            row = make()
            corpus.write(self.folders[name] / file, row)
        self.made[name].append(row)
        return row

    def _guard(self, command: float, pixels: U8, y: Ints, worst: list[U8]) -> Handful:
        """worst: what fools each member alone; the guard is shown that as well (E7)."""
        start = time.process_time()
        bound = self.target.above(command)
        bound.box = self.resting.at(command)
        verdicts = bound.ask(pixels)
        accepted = np.array([v.accepted and not v.raised for v in verdicts])
        good = np.flatnonzero(accepted)
        columns = {name: np.zeros(len(y), bool) for name in (*WAYS, "tried", "flat")}
        shown, queries = pixels.copy(), np.zeros(len(y), np.int64)
        if len(good):
            made = Attacked(bound, pixels[good], self.threat, self.black,
                            [w[good] for w in worst], self.resting.raising(command))  # fmt: skip
            shown[good], queries[good] = made.shown, made.queries
            for name, column in {**made.hits, "tried": made.tried, "flat": made.flat}.items():
                columns[name][good] = column
            for row, verdict in zip(good, made.verdicts, strict=True):
                verdicts[row] = verdict
        said = np.array([v.labels for v in verdicts])
        return {
            "clean": pixels, "pixels": shown, "y": y, "label": _most(said), "accepted": accepted,
            "hit": accepted & np.array([v.raised for v in verdicts]), **columns,
            "size": self.threat.sizes(images(shown) - images(pixels)).numpy(), "queries": queries,
            "cpu_s": np.full(len(y), (time.process_time() - start) / len(y)),
            "said": said, "fell": np.isin(said, bound.classes.numpy()),
            "causes": np.array([" ".join(v.causes) for v in verdicts]),
        }  # fmt: skip


def _most(said: Array) -> Ints:
    """The label that most members say to each picture, [N]."""
    return np.array([np.bincount(row.clip(0)).argmax() for row in said], np.int64)
