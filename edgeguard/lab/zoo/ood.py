# SPDX-License-Identifier: Apache-2.0
"""``edgeguard lab evaluate gtsrb --ood``: what each embedding detector of ood.toml is worth.

Nothing is fitted here: arrays and limits are those that ship. Strange pictures are uniform noise,
handwritten digits and crops of two photos (scikit-learn's); the known ones are the test half. False
trips are counted on the reserved tracks, after debounce. Those are one or two tracks of every
class, while calibration tracks were drawn as classes come in the training set: the classes that it
hardly has stand apart. These pictures do not know the detectors: nothing here says what an attacker
can do.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from attrs import evolve
from PIL import Image

from edgeguard import config, figures
from edgeguard.card import Card
from edgeguard.cli.calibration_arrays import distances
from edgeguard.cli.calibration_run import Answers, Data, run_members
from edgeguard.config.fixed import ONE
from edgeguard.evidence.conformal import Debounce
from edgeguard.evidence.tracks import Stream, Tracks
from edgeguard.figures import Figure
from edgeguard.lab.zoo import data
from edgeguard.lab.zoo.figures import rate

U8 = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

SEED = 7
STRANGE = 1000  # pictures of each kind
PHOTOS = 2  # that those of the kind "photos" are cut from: these are n, and too few for an interval
FEW = 3  # calibration tracks of a class: fewer say nothing about it
LEAST_AUROC = 0.93  # far out of distribution: what OpenOOD reports for nearest neighbours
PACKAGES = ("numpy", "scikit-learn", "onnxruntime", "ai-edge-litert")


def evaluate(data_dir: str | Path | None, models: Path, json: str | Path | None = None) -> int:
    """Measure, print the table, write the results file; returns 0 if every bar holds, else 1."""
    if json:
        figures.check_writable(Path(json))
    root = data.data_root(data_dir)
    cfg = config.load(models / "ood.toml")
    cards = config.load_cards(cfg)
    seen = {name: _run(cfg, cards, x) for name, x in pictures(root).items()}
    reserved, keys = read_reserved(root)
    drive = _run(cfg, cards, reserved)
    rare = rare_classes(models)
    found: list[Figure] = []
    for name, detector in cfg.detectors.items():
        if detector.kind == "embedding":
            worth = Worth(cfg, cards[detector.member or ""], name)
            known = worth.numbers(seen["known"])
            strange = {k: worth.numbers(v) for k, v in seen.items() if k != "known"}
            found += worth.figures(known, strange) + worth.trips(worth.numbers(drive), keys, rare)
    print(table(found))
    if json:
        figures.write(Path(json), found, SEED, PACKAGES)
    missed = [f.id for f in found if f.holds is False]
    if missed:
        print("bars that do not hold: " + ", ".join(missed))
    return 1 if missed else 0


def pictures(root: Path) -> dict[str, U8]:
    """Known and strange pictures, uint8 [N, 32, 32, 3] each."""
    from sklearn.datasets import load_digits, load_sample_images

    rng = np.random.default_rng(SEED)
    side = data.SIDE
    digits = (load_digits().images[:STRANGE] * 15.9).astype(np.uint8)
    photos, cut = load_sample_images().images, []
    for i in range(STRANGE):
        photo = photos[i % len(photos)]
        size = int(rng.integers(48, 200))
        top, left = (int(rng.integers(0, n - size)) for n in photo.shape[:2])
        cut.append(_small(photo[top : top + size, left : left + size]))
    return {
        "known": data.load_file(root / "gtsrb" / "test_public_32.npz").x,
        "noise": rng.integers(0, 256, (STRANGE, side, side, 3), dtype=np.uint8),
        "digits": np.stack([_small(d) for d in digits]),
        "photos": np.stack(cut),
    }


def _small(picture: U8) -> U8:
    side = (data.SIDE, data.SIDE)
    return np.asarray(
        Image.fromarray(picture).convert("RGB").resize(side, Image.Resampling.BILINEAR)
    )


def read_reserved(root: Path) -> tuple[U8, Ints]:
    """The reserved tracks in driving order: pictures [N, 32, 32, 3], and the track of each [N]."""
    folder = root / "gtsrb" / "tracks_original"
    x, keys = [], []
    with zipfile.ZipFile(folder / "tracks.zip") as archive:
        inside = {Path(name).name: name for name in archive.namelist()}
        for row in csv.DictReader((folder / "tracks.csv").open()):
            picture = Image.open(io.BytesIO(archive.read(inside[Path(row["path"]).name])))
            x.append(_small(np.asarray(picture.convert("RGB"))))
            keys.append(int(row["class_id"]) * 1000 + int(row["track"]))
    return np.stack(x), np.array(keys, np.int64)


def _run(cfg: config.GuardConfig, cards: Mapping[str, Card], x: U8) -> Answers:
    nobody = np.zeros(len(x), np.int64)
    return run_members(cfg, cards, Data(x, nobody, nobody), lambda: None)


@dataclass(frozen=True)
class Worth:
    """One detector of the configuration, and the figures of it."""

    cfg: config.GuardConfig
    card: Card
    name: str

    @property
    def _limit(self) -> float:
        limit = self.cfg.detectors[self.name].above
        assert isinstance(limit, float)  # it is loaded calibrated
        return limit

    def numbers(self, said: Answers) -> Ints:
        """Its number for each picture [N], in Q16.16, as the guard would compute it."""
        from edgeguard import _kernels

        detector, scores = self.cfg.detectors[self.name], self.card.scores
        member, feature = detector.member or "", detector.feature or ""
        evidence = _kernels.evidence_batch(
            said.scores[member], kind=scores.kind, scale=scores.scale,
            zero_point=scores.zero_point,
            temperature=self.cfg.temperatures.get(member, self.card.temperature),
        )  # fmt: skip
        fit = self.cfg.fits[member, feature]
        return distances(self.card.embedding, fit, feature, said.embeddings[member])(evidence)

    def figures(self, known: Ints, strange: Mapping[str, Ints]) -> list[Figure]:
        """How well known and strange are told apart, and what the shipped limit finds."""
        above = self._limit * ONE
        found = [rate(f"ood.{self.name}.known.flagged", int((known > above).sum()), len(known))]
        for kind, numbers in strange.items():
            value, hits = auroc(known, numbers), int((numbers > above).sum())
            at = f"ood.{self.name}.{kind}"
            made = [
                figures.at_least(f"{at}.auroc", value, LEAST_AUROC, n=len(numbers)),
                rate(f"{at}.flagged", hits, len(numbers)),
            ]
            if kind == "photos":
                made = [evolve(figure, n=PHOTOS, interval=None) for figure in made]
            found += made
        return found

    def trips(self, numbers: Ints, keys: Ints, rare: frozenset[int]) -> list[Figure]:
        """False trips per hour on tracks in driving order, after the debounce of its cause; in all,
        and apart for tracks of the ``rare`` classes, of which calibration saw hardly any."""
        detector, cfg = self.cfg.detectors[self.name], self.cfg
        row = cfg.causes[detector.raises]
        debounce = Debounce(round(row.on_ms * 1000), round(row.off_ms * 1000))
        hz = cfg.cameras[cfg.members[detector.member or ""].camera or ""].rate_hz
        stream = Stream(hz, round(cfg.guard.period_ms * 1000))
        fired: dict[str, list[int]] = {"": [], ".common": [], ".rare": []}
        hours = dict.fromkeys(fired, 0.0)
        for track in Tracks.of(keys).slices():
            seen = numbers[track][stream.frame_of_tick(track.stop - track.start)]
            trips = debounce.trips(seen > self._limit * ONE, stream.period_us)
            for part in ("", ".rare" if int(keys[track.start]) // 1000 in rare else ".common"):
                fired[part].append(trips)
                hours[part] += stream.hours(track.stop - track.start)
        most = detector.max_false_trips_per_hour or 0.0
        # it is promised for the mean of all drives with the classes of the calibration tracks
        return [
            _per_hour(f"ood.{self.name}.false_trips{part}", found, hours[part], most)
            for part, found in fired.items()
        ]


def _per_hour(name: str, fired: list[int], hours: float, promised: float) -> Figure:
    """Trips of so many tracks, n, in so many hours."""
    low, high = trips_interval(fired)
    return Figure(name, sum(fired) / hours, "1/h", len(fired), (low / hours, high / hours),
                  f"promised <= {promised:g}")  # fmt: skip


def trips_interval(fired: list[int]) -> tuple[float, float]:
    """95 % interval of the number of trips, from those of each track.

    Trips of one track are no independent events, tracks are: the tracks that trip k times are
    Poisson for every k, and their sum is weighted by k (Fay & Feuer 1997; where no track trips
    twice, Garwood's exact interval).
    """
    from scipy.stats import chi2

    trips, squares, most = sum(fired), sum(n * n for n in fired), max([1, *fired])
    low = squares / (2 * trips) * chi2.ppf(0.025, 2 * trips**2 / squares) if trips else 0.0
    above, spread = trips + most, squares + most**2
    high = spread / (2 * above) * chi2.ppf(0.975, 2 * above**2 / spread)
    return float(low), float(high)


def rare_classes(models: Path) -> frozenset[int]:
    """Those with fewer than FEW calibration tracks."""
    counts = Counter(key // 1000 for key in data.read_split(models / "split.json"))
    return frozenset(label for label in range(data.CLASSES) if counts[label] < FEW)


def auroc(known: Ints, strange: Ints) -> float:
    """Share of pairs in which the strange one has the larger number; ties count half."""
    order = np.sort(known)
    below = np.searchsorted(order, strange, "left") + np.searchsorted(order, strange, "right")
    return float(below.mean() / 2 / len(known))


def table(found: list[Figure]) -> str:
    """One line for each detector."""
    value: dict[str, Any] = {f.id: f.value for f in found}
    kinds = ("noise", "digits", "photos")
    head = "".join(f"{kind + ' AUROC':>14}{'flagged':>9}" for kind in kinds)
    lines = [f"{'detector':<24}{head}{'known flagged':>15}{'false trips/h':>15}"
             f"{'common':>8}{'rare':>8}"]  # fmt: skip
    for name in dict.fromkeys(f.id.split(".")[1] for f in found):
        cells = "".join(
            f"{value[f'ood.{name}.{k}.auroc']:>14.4f}{value[f'ood.{name}.{k}.flagged']:>9.1%}"
            for k in kinds
        )
        flagged = value[f"ood.{name}.known.flagged"]
        trips, common, rare = (
            value[f"ood.{name}.false_trips{part}"] for part in ("", ".common", ".rare")
        )
        line = f"{name:<24}{cells}{flagged:>15.2%}{trips:>15.1f}{common:>8.1f}{rare:>8.1f}"
        lines.append(line)
    lines.append(f"common, rare: of classes with at least {FEW} calibration tracks, or fewer")
    return "\n".join(lines)
