# SPDX-License-Identifier: Apache-2.0
"""Run attacks on one model, a handful of images at a time; what is there is not made again.

Each handful is one file: the attacked pictures with what the deployed file says to them. Together
they are the corpus of adversarial samples; a file's folder carries the hash of all that it depends
on: the model, the images, the attack's source and the surrogate's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from edgeguard.figures import Figure
from edgeguard.lab.attacks.judge import judge
from edgeguard.lab.attacks.plan import Job, Scene
from edgeguard.lab.attacks.victim import U8, Ints, images
from edgeguard.lab.zoo.figures import wilson

CHUNK = 25
HERE = Path(__file__).resolve().parent
COMMON = ("threat", "judge", "victim", "losses")


@dataclass(frozen=True)
class Outcome:
    """One job on n images; arrays [n]."""

    job: Job
    hit: np.ndarray
    size: np.ndarray
    queries: np.ndarray | None

    @property
    def success(self) -> float:
        """Share of images that were read rightly before and are read wrongly now."""
        return float(self.hit.mean())

    @property
    def median_size(self) -> float:
        """Of the changes that fooled; NaN when none did."""
        return float(np.median(self.size[self.hit])) if self.hit.any() else float("nan")

    def figures(self, member: str) -> list[Figure]:
        """`attack.MEMBER.ATTACK.THREAT.*`."""
        at = f"attack.{member}.{self.job.name}.{self.job.threat.name}"
        n, bar, value = len(self.hit), self.job.bar, self.success
        words = None if bar is None else f">= {bar:g}"
        holds = None if bar is None else value >= bar
        found = [
            Figure(f"{at}.success", value, "1", n, wilson(int(self.hit.sum()), n), words, holds)
        ]
        if self.hit.any() and self.job.threat.radius is None:
            found.append(Figure(f"{at}.median_size", self.median_size, "1", int(self.hit.sum())))
        if self.queries is not None and self.hit.any():
            median = float(np.median(self.queries[self.hit]))
            found.append(Figure(f"{at}.median_queries", median, "1", int(self.hit.sum())))
        return found


def digest_of(sources: Iterable[Path], model: Path, *more: bytes) -> str:
    """12 hex digits of what a result depends on: sources, the surrogate's, the model."""
    digest = hashlib.sha256(b"".join(more))
    for file in [*sources, *sorted(HERE.parent.glob("surrogate*.py")), model]:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


def key_of(job: Job, model: Path, pixels: U8) -> str:
    """12 hex digits of all that the result depends on."""
    sources = [HERE / f"{name}.py" for name in (*COMMON, *job.modules)]
    some = np.ascontiguousarray(pixels[:CHUNK]).tobytes()
    return digest_of(sources, model, repr(job.threat).encode(), some)


def run(
    scene: Scene, job: Job, pixels: U8, y: Ints, results: Path,
    done: Callable[[int], None] = lambda n: None,
) -> Outcome:  # fmt: skip
    """Attack pictures [N, C, H, W] that the victim reads rightly; keep each handful in `results`.

    done is told after every handful how many images it had.
    """
    victim = scene.victim
    folder = results / victim.path.stem / (
        f"{job.name}.{job.threat.name}-{key_of(job, victim.path, pixels)}"
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    found: list[Mapping[str, Any]] = []
    for first in range(0, len(y), CHUNK):
        rows = slice(first, first + CHUNK)
        file = folder / f"{first:05d}.npz"
        kept = _kept(file, y[rows])
        if kept is None:
            kept = _attack(scene, job, pixels[rows], y[rows])
            _write(file, kept)
        found.append(kept)
        done(len(y[rows]))
    columns = {
        name: np.concatenate([f[name] for f in found]) for name in ("hit", "size", "queries")
    }
    asked = columns["queries"] if job.threat.queries and columns["queries"].any() else None
    return Outcome(job, columns["hit"], columns["size"], asked)


def _attack(scene: Scene, job: Job, pixels: U8, y: Ints) -> dict[str, Any]:
    adv, queries = job.make(scene, images(pixels), torch.from_numpy(y))
    result = judge(scene.victim, pixels, y, adv, job.threat, queries=queries)
    return {
        "pixels": result.pixels, "y": y, "label": result.labels, "hit": result.fooled,
        "size": result.size,
        "queries": np.zeros(len(y), np.int64) if queries is None else np.asarray(queries),
    }  # fmt: skip


def _kept(file: Path, y: Ints) -> Mapping[str, Any] | None:
    """A handful that is there, of the same images; None: to be made."""
    try:
        with np.load(file) as stored:
            row = {name: stored[name] for name in ("y", "hit", "size", "queries")}
    except (OSError, ValueError, KeyError):
        return None
    return row if np.array_equal(row["y"], y) else None


def _write(file: Path, row: Mapping[str, Any]) -> None:
    """At once or not at all: a run may end at any time."""
    part = file.with_suffix(".part")
    with part.open("wb") as stream:
        np.savez_compressed(stream, **row)
    part.replace(file)


def invalid(found: Iterable[Outcome]) -> list[str]:
    """Rules of E4 that the outcomes of one model break: then the evaluation is worth nothing."""
    success = {f"{o.job.name}.{o.job.threat.name}": o.success for o in found}
    broken = []
    for weaker, stronger in (
        ("fgsm.linf.8", "pgd.linf.8"), ("fgsm.linf.8", "apgd_dlr.linf.8"),
        ("noise.linf.8", "fgsm.linf.8"), ("square.linf.8", "apgd_dlr.linf.8"),
        ("universal.linf.8", "pgd.linf.8"),
    ):  # fmt: skip
        if weaker in success and stronger in success and success[weaker] > success[stronger] + 0.02:
            broken.append(
                f"E4: {weaker} ({success[weaker]:.1%}) is stronger than {stronger} "
                f"({success[stronger]:.1%}): the stronger one is broken, or gradients are masked"
            )
    return broken
