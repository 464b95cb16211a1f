# SPDX-License-Identifier: Apache-2.0
"""Run attacks on one model, a handful of images at a time; what is there is not made again.

Each handful is one file of the corpus; a part's folder carries the hash of all that it depends on:
the model, the images, the attack's source, the surrogate's, and the packages that judged.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edgeguard.card import Card
from edgeguard.figures import Figure, version
from edgeguard.lab.attacks import corpus
from edgeguard.lab.attacks.eot import HELD_OUT, survival
from edgeguard.lab.attacks.intervals import median_interval
from edgeguard.lab.attacks.judge import judge
from edgeguard.lab.attacks.plan import Job, Scene
from edgeguard.lab.attacks.victim import U8, Ints, images
from edgeguard.lab.zoo.figures import rate

CHUNK = 25
HERE = Path(__file__).resolve().parent
COMMON = ("campaign", "threat", "judge", "victim", "losses", "plan")
JUDGES = ("edgeguard-monitor", "onnxruntime", "ai-edge-litert", "torch", "Pillow")
"""Packages of another version of which nothing is continued: kept verdicts are not asked again."""
SLACK = 0.02
"""By which share a weaker attack may be stronger than a stronger one (E4), or by one image."""
MOST_FLAT = 0.2
"""The most images that may have no gradient (E5)."""
TWIN_SOURCE = HERE.parent / "zoo" / "onnx_torch.py"
ONCE = ("substitute", "universal")
"""Modules of attacks that make something once for all images; weaker with --quick."""

TWIN = ("on_float", "on_float_8bit")
"""What the float twin says to what was made on it: as it is, and saved in 8 bits."""
CONTROL = "control"
"""Of an attack that has to survive transformations: the clean pictures, transformed as well."""
DRAWS, MOSTLY = 10, 0.5  # held-out views of each picture, and in how many it has to be wrong


@dataclass(frozen=True)
class Outcome:
    """One job on n images; arrays [n]."""

    job: Job
    hit: np.ndarray
    size: np.ndarray
    queries: np.ndarray | None
    folder: Path | None = None
    cpu_s: float = 0.0
    """Processor time of one image, what is made once for all of them included."""
    beside: dict[str, np.ndarray] = field(default_factory=dict)
    """Whether the float twin is fooled (see TWIN); whether the CONTROL is. What was made on a twin
    counts, here and above, on images that both it and the file read rightly."""

    @property
    def success(self) -> float:
        """Share of images that were read rightly before and are read wrongly now."""
        return float(self.hit.mean()) if len(self.hit) else 0.0

    @property
    def median_size(self) -> float:
        """Of the changes that fooled; NaN when none did."""
        return float(np.median(self.size[self.hit])) if self.hit.any() else float("nan")

    def figures(self, member: str) -> list[Figure]:
        """`attack.MEMBER.ATTACK.THREAT.*`; the first is the success."""
        at = f"attack.{member}.{self.job.name}.{self.job.threat.name}"
        found = [rate(f"{at}.success", int(self.hit.sum()), len(self.hit), self.job.bar)]
        found += [rate(f"{at}.{name}", int(f.sum()), len(f)) for name, f in self.beside.items()]
        if self.hit.any() and self.job.threat.radius is None:
            found.append(_median(f"{at}.median_size", self.size[self.hit]))
        if self.queries is not None and self.hit.any():
            found.append(_median(f"{at}.median_queries", self.queries[self.hit]))
        return found


def _median(id: str, values: np.ndarray) -> Figure:
    return Figure(id, float(np.median(values)), "1", len(values), median_interval(values))


@cache
def _source(file: Path) -> bytes:
    """As it was when it was first asked for: a process that lives on runs what it has loaded."""
    return file.read_bytes()


for _module in HERE.glob("*.py"):  # as they are loaded with this one
    _source(_module)


def digest_of(sources: Iterable[Path], model: Path, *more: bytes) -> str:
    """12 hex digits of what a result depends on: sources, the surrogate's, the model, what judges,
    and more."""
    digest = hashlib.sha256(repr([(package, version(package)) for package in JUDGES]).encode())
    for file in [*sources, *sorted(HERE.parent.glob("surrogate*.py")), model]:
        digest.update(_source(file) if file.suffix == ".py" else file.read_bytes())
    for part in more:
        digest.update(b"%d:" % len(part) + part)
    return digest.hexdigest()[:12]


def card_bytes(card: Card | None) -> bytes:
    """What a card says of the tensors, which is what an attack depends on."""
    return b"" if card is None else repr((card.input, card.scores, card.embedding)).encode()


def made_once(job: Job) -> bool:
    """Whether handfuls of a job share something that is made first."""
    return not set(ONCE).isdisjoint(job.modules)


def key_of(scene: Scene, job: Job, pixels: U8) -> str:
    """12 hex digits of all that the result depends on, but for the images behind the first: of
    those each handful holds its own (`corpus.kept`), so that a longer run goes on from a shorter.
    """
    sources = [HERE / f"{name}.py" for name in (*COMMON, *job.modules)]
    if job.by_twin and scene.twin is not None:
        sources += [TWIN_SOURCE, scene.twin.path]
    weaker = b"quick" if scene.quick and made_once(job) else b""
    victim, shown = scene.victim, (pixels[:CHUNK], scene.own, scene.own_labels)
    return digest_of(
        sources, victim.path, repr(job.threat).encode(), weaker, card_bytes(victim.card),
        *(np.ascontiguousarray(part).tobytes() for part in shown),
    )  # fmt: skip


def folder_of(scene: Scene, job: Job, pixels: U8, results: Path) -> Path:
    """Where the handfuls of a job lie."""
    name = f"{job.name}.{job.threat.name}-{key_of(scene, job, pixels)}"
    return results / scene.victim.path.stem / name


def file_of(folder: Path, first: int) -> Path:
    """Of the handful that begins with this image."""
    return folder / f"{first:05d}.npz"


def run(
    scene: Scene, job: Job, pixels: U8, y: Ints, results: Path,
    done: Callable[[int], None] = lambda n: None,
) -> Outcome:  # fmt: skip
    """Attack pictures [N, C, H, W] that the victim reads rightly; keep each handful in `results`.

    done is told after every handful how many images it had.
    """
    folder = folder_of(scene, job, pixels, results)
    corpus.begin(folder, corpus.about(scene.victim.path, job.name, job.threat))
    found = []
    for first in range(0, len(y), CHUNK):
        rows = slice(first, first + CHUNK)
        file = file_of(folder, first)
        row = corpus.kept(file, pixels[rows], y[rows])
        if row is None:
            row = attacked(scene, job, pixels[rows], y[rows])
            corpus.write(file, row)
        found.append(row)
        done(len(y[rows]))
    return _outcome(job, folder, corpus.joined(found))


def _outcome(job: Job, folder: Path, rows: dict[str, Any]) -> Outcome:
    """Of what was made on a float twin, the images that it reads rightly: where it is wrong from
    the start an attack on it has nothing to do, and says nothing of the file."""
    cpu_s = float(rows["cpu_s"].mean())
    counted = corpus.counted(rows)
    rows = {name: column[counted] for name, column in rows.items()}
    asked = rows["queries"] if job.threat.queries and rows["queries"].any() else None
    beside = {name: rows[name] for name in (*TWIN, CONTROL) if name in rows}
    return Outcome(job, rows["hit"], rows["size"], asked, folder, cpu_s, beside)


def attacked(scene: Scene, job: Job, pixels: U8, y: Ints) -> dict[str, Any]:
    """One handful, as the corpus keeps it."""
    start = time.process_time()
    adv, queries = job.make(scene, images(pixels), torch.from_numpy(y))
    cpu_s = (time.process_time() - start) / len(y)
    result = judge(scene.victim, pixels, y, adv, job.threat, queries=queries)
    more = _by_twin(scene, pixels, y, adv, result.pixels) if job.by_twin else {}
    if job.threat.transformations:
        more = {"hit": _survives(scene, result.pixels, y), CONTROL: _survives(scene, pixels, y)}
    return {
        "clean": pixels, "pixels": result.pixels, "y": y, "label": result.labels,
        "hit": result.fooled, "size": result.size, "cpu_s": np.full(len(y), cpu_s),
        "queries": np.zeros(len(y), np.int64) if queries is None else np.asarray(queries), **more,
    }  # fmt: skip


def _survives(scene: Scene, pixels: U8, y: Ints) -> np.ndarray:
    """Whether the deployed file is wrong in most of the held-out views of each picture, [N]."""
    wrong = survival(scene.victim, images(pixels), torch.from_numpy(y), HELD_OUT, DRAWS, 1)
    return np.asarray(wrong > MOSTLY)


def _by_twin(scene: Scene, pixels: U8, y: Ints, adv: Tensor, made: U8) -> dict[str, np.ndarray]:
    """Which part of what the int8 file withstands is due to 8-bit pictures, which to int8."""
    assert scene.twin is not None
    with torch.no_grad():
        as_made = scene.twin.scores(adv).argmax(1).numpy()
    return {
        "twin_right": scene.twin.labels(pixels) == y, "on_float": as_made != y,
        "on_float_8bit": scene.twin.labels(made) != y,
    }  # fmt: skip


def worst_case(found: Iterable[Outcome], member: str, threat: str) -> list[Figure]:
    """E7: `attack.MEMBER.worst.THREAT.success`, an image counting once whatever fooled it; of the
    images that every white-box attack in this threat was tried on, black boxes helping where they
    were tried as well. None for fewer than two attacks."""
    tried = [o for o in found if o.job.threat.name == threat and o.job.name != "noise"]
    lengths = [len(o.hit) for o in tried if o.job.threat.knowledge == "white-box"]
    if len(tried) < 2 or not lengths:
        return []
    n = min(lengths)
    worst = np.zeros(n, bool)
    for outcome in tried:
        hit = outcome.hit[:n]
        worst[: len(hit)] |= hit
    return [rate(f"attack.{member}.worst.{threat}.success", int(worst.sum()), n)]


def invalid(found: Iterable[Outcome]) -> list[str]:
    """Rules of E4 that the outcomes of one model break: then the evaluation is worth nothing. Two
    attacks are compared on the first images, which both of them were tried on."""
    hits = {f"{o.job.name}.{o.job.threat.name}": o.hit for o in found}
    broken = []
    for weaker, stronger in (
        ("fgsm.linf.8", "pgd.linf.8"), ("fgsm.linf.8", "apgd_dlr.linf.8"),
        ("noise.linf.8", "fgsm.linf.8"), ("square.linf.8", "apgd_dlr.linf.8"),
        ("universal.linf.8", "pgd.linf.8"),
        *((f"{name}.{less}", f"{name}.{more}") for name in ("pgd", "apgd_ce", "apgd_dlr")
          for less, more in pairwise(("linf.2", "linf.4", "linf.8"))),
    ):  # fmt: skip
        if weaker not in hits or stronger not in hits:
            continue
        n = min(len(hits[weaker]), len(hits[stronger]))
        less, more = (int(hits[name][:n].sum()) for name in (weaker, stronger))
        if less > more + max(1.0, SLACK * n):
            broken.append(
                f"E4: {weaker} ({less} of {n}) is stronger than {stronger} ({more}): the "
                "stronger one is broken, or gradients are masked"
            )
    return broken
