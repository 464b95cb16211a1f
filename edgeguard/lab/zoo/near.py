# SPDX-License-Identifier: Apache-2.0
"""``edgeguard lab evaluate gtsrb --near``: signs of classes that a model never saw, told from those
that it knows.

Five random draws of five classes. For each a model of ``plain``'s shape is trained without them and
quantized as the shipped one; every embedding detector is fitted as `edgeguard calibrate` fits it,
to frames of the classes that are left. Known pictures are the test half of these classes, strange
ones the test half of the five: nothing was trained, fitted or chosen on either. Near
out-of-distribution in the sense of OpenOOD (Yang et al., NeurIPS 2022): the same world, other
labels.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeguard import figures
from edgeguard.card import Output
from edgeguard.cli.calibration_arrays import distances
from edgeguard.config.fixed import ONE
from edgeguard.config.vocabulary import BOXES, EMBEDDING_FEATURES
from edgeguard.evidence import embedding
from edgeguard.figures import Figure
from edgeguard.lab.zoo import cards, data, runners
from edgeguard.lab.zoo.augment import Augment
from edgeguard.lab.zoo.ood import PACKAGES, auroc
from edgeguard.lab.zoo.train import Cycle, Recipe, fit

Ints = npt.NDArray[np.int64]

SEED = 19
DRAWS, HELD_OUT = 5, 5
LEAST_AUROC = 0.90
SHIPPED = "nearest"  # the detector that the bar is for: the one of the far pictures
DETECTORS = (*EMBEDDING_FEATURES, BOXES, "certainty")
RECIPE = Recipe("plain", seed=SEED, cycles=(Cycle(10, 3e-3, Augment()),))
QUICK = Recipe("plain", seed=SEED, cycles=(Cycle(2, 3e-3, Augment()),))


def evaluate(
    data_dir: str | Path | None,
    models: Path,
    quick: bool = False,
    json: str | Path | None = None,
    kept: Path = Path(".zoo/near"),
) -> int:
    """Train, measure, print the table, write the results file; returns 0 if the bar holds, else 1.

    ``quick``: one draw, two epochs. Checkpoints lie in ``kept``, and a run goes on from them.
    Raises EdgeguardError for those of other data or another recipe.
    """
    if json:
        figures.check_writable(Path(json))
    root = data.data_root(data_dir)
    training, held = data.split(data.load_train(root), data.read_split(models / "split.json"))
    test = data.load_file(root / "gtsrb" / "test_public_32.npz")
    recipe = QUICK if quick else RECIPE
    found: list[dict[str, float]] = []
    for number, classes in enumerate(draws()[: 1 if quick else DRAWS]):
        print(f"draw {number + 1}: without classes {', '.join(map(str, classes))}", flush=True)
        draw = Draw(classes, recipe, kept / f"{recipe.epochs}-epochs-{number + 1}.pt")
        found.append(draw.measure(training, held, test))
    made = summary(found)
    print(table(found))
    if json:
        figures.write(Path(json), made, SEED, ("torch", *PACKAGES))
    missed = [f.id for f in made if f.holds is False]
    if missed:
        print("bars that do not hold: " + ", ".join(missed))
    return 1 if missed else 0


def draws() -> list[list[int]]:
    """The classes of each draw that its model is not shown."""
    rng = np.random.default_rng(SEED)
    return [sorted(int(c) for c in rng.permutation(data.CLASSES)[:HELD_OUT]) for _ in range(DRAWS)]


@dataclass(frozen=True)
class Draw:
    """One draw: classes held out, how its model is trained, and where that run is kept."""

    held_out: list[int]
    recipe: Recipe
    checkpoint: Path

    def measure(
        self, training: data.Images, held: data.Images, test: data.Images
    ) -> dict[str, float]:
        """AUROC of every detector, and the model's accuracy on the classes that it knows."""
        own, calibration = self.without(training), self.without(held)
        self.checkpoint.parent.mkdir(parents=True, exist_ok=True)
        # every second frame: neighbours of a track are alike
        half = own.where(np.arange(0, len(own), 2))
        run = fit(self.recipe, half, calibration, self.checkpoint, self.checkpoint.parent)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "near.onnx"
            twin = Path(folder) / "near.float.onnx"
            said = cards.export(run.average, "onnx", file, twin, calibration.x[::5])
            model = Deployed(file, said, run.average.head.in_features)
            model.fit(own.where(np.arange(0, len(own), 3)), calibration)
            return self.compare(model, test)

    def without(self, images: data.Images) -> data.Images:
        """The images of the classes that the model is shown."""
        return images.where(~np.isin(images.y, self.held_out))

    def compare(self, model: Deployed, test: data.Images) -> dict[str, float]:
        """AUROC by detector, and ``accuracy``."""
        strange = np.isin(test.y, self.held_out)
        numbers, labels = model.numbers(test.x)
        found = {name: auroc(n[~strange], n[strange]) for name, n in numbers.items()}
        return found | {"accuracy": float((labels == test.y)[~strange].mean())}


class Deployed:
    """An int8 file with its detectors, computed by the kernels that the guard runs."""

    def __init__(
        self, file: Path, quantization: Mapping[str, tuple[float, int]], width: int
    ) -> None:
        self._file = file
        self._scores, self._embedding = (
            Output(name, "int8", kind, size, *quantization[name])
            for name, kind, size in (
                ("scores", "logits", data.CLASSES),
                ("embedding", "embedding", width),
            )
        )
        self._temperature = 1.0
        self._fits: dict[str, embedding.Fit] = {}

    def fit(self, frames: data.Images, calibration: data.Images) -> None:
        """The detectors to these frames, the temperature to calibration tracks."""
        scores, embedded = runners.run(self._file, frames.x)
        x = embedding.real(embedded, self._embedding)
        largest = embedding.real(scores, self._scores).max(1)
        for feature in (*EMBEDDING_FEATURES, BOXES):
            self._fits[feature] = embedding.fit(feature, x, frames.y, largest)
        logits = embedding.real(runners.run(self._file, calibration.x)[0], self._scores)
        self._temperature = cards.fit_temperature(logits.astype(np.float32), calibration.y)

    def numbers(self, x: data.U8) -> tuple[dict[str, Ints], Ints]:
        """Each detector's number for pictures uint8 [N, 32, 32, 3], in Q16.16, the larger the
        stranger; and the labels [N] that the model gives."""
        from edgeguard import _kernels

        scores, embedded = runners.run(self._file, x)
        evidence = _kernels.evidence_batch(
            scores, kind="logits", scale=self._scores.scale,
            zero_point=self._scores.zero_point, temperature=self._temperature,
        )  # fmt: skip
        found = {
            feature: distances(self._embedding, fitted, feature, embedded)(evidence)
            for feature, fitted in self._fits.items()
        }
        found["certainty"] = ONE - evidence["certainty"].astype(np.int64)
        return found, evidence["label"].astype(np.int64)


def summary(found: list[dict[str, float]]) -> list[Figure]:
    """Of every detector the mean over the draws, and where it may lie."""
    made = []
    for name in (*DETECTORS, "accuracy"):
        values = [draw[name] for draw in found]
        mean, span = float(np.mean(values)), student_interval(values)
        bar = (f">= {LEAST_AUROC:g}", mean >= LEAST_AUROC) if name == SHIPPED else (None, None)
        called = f"near.{name}" if name == "accuracy" else f"near.{name}.auroc"
        made.append(Figure(called, mean, "1", len(values), span, *bar))
    return made


def student_interval(values: list[float]) -> tuple[float, float] | None:
    """95 % interval of the mean of shares (Student); one alone has none."""
    if len(values) < 2:
        return None
    from scipy.stats import t

    half = t.ppf(0.975, len(values) - 1) * np.std(values, ddof=1) / np.sqrt(len(values))
    mean = np.mean(values)
    return float(max(mean - half, 0.0)), float(min(mean + half, 1.0))


def table(found: list[dict[str, float]]) -> str:
    """One line for each detector: its AUROC in every draw, and their mean."""
    head = "".join(f"{f'draw {i + 1}':>9}" for i in range(len(found)))
    lines = [f"{'AUROC, near':<22}{head}{'mean':>9}"]
    for name in (*DETECTORS, "accuracy"):
        values = [draw[name] for draw in found]
        cells = "".join(f"{value:>9.4f}" for value in (*values, float(np.mean(values))))
        lines.append(f"{name:<22}{cells}")
    return "\n".join(lines)
