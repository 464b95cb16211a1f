# SPDX-License-Identifier: Apache-2.0
"""Make what the runtime loads of a trained network: int8 file, float twin, card, golden vectors."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.lab.zoo import data, figures, nets, quantize_onnx, quantize_tflite, runners
from edgeguard.lab.zoo.train import Recipe, Run

RUNTIME = {"plain": "onnx", "compact": "litert", "robust": "onnx"}
SUFFIX = {"onnx": "onnx", "litert": "tflite"}
LAYOUT = {"onnx": "CHW", "litert": "HWC"}
GOLDEN = 8  # inputs in the golden file, each of another class


@dataclass(frozen=True)
class Material:
    """What a card is made from besides the network.

    held: calibration frames (quantization, temperature, golden inputs); test: frames for the
    figures on the card, which nothing here is chosen by; names: of the labels, in order.
    """

    held: data.Images
    test: data.Images
    names: list[str]


def publish(run: Run, recipe: Recipe, given: Material, folder: Path) -> dict[str, Any]:
    """Write every file of one model into ``folder``, all or none, and return its card."""
    with all_or_none(folder) as workshop:
        return make_files(run, recipe, given, workshop)


@contextmanager
def all_or_none(folder: Path) -> Iterator[Path]:
    """A folder to make files in; when all are made they are moved into ``folder``, none before."""
    with tempfile.TemporaryDirectory(dir=folder) as workshop:
        yield Path(workshop)
        for path in sorted(Path(workshop).iterdir()):
            path.chmod(0o644)
            path.replace(folder / path.name)


def make_files(run: Run, recipe: Recipe, given: Material, folder: Path) -> dict[str, Any]:
    """Write int8 file, float twin, golden vectors, labels and card."""
    runtime = RUNTIME[recipe.name]
    file = folder / f"{recipe.name}.{SUFFIX[runtime]}"
    twin = folder / f"{recipe.name}.float.{SUFFIX[runtime]}"
    quantization = export(run.average, runtime, file, twin, given.held.x[::5])
    affine = runners.Affine(*quantization["scores"])
    logits = affine.dequantize(runners.run(file, given.held.x)[0])
    golden = write_golden(file, given.held, folder)
    card = {
        "name": recipe.name,
        "task": "classifier",
        "runtime": runtime,
        "file": file.name,
        "sha256": runners.digest(file),
        "float_twin": twin.name,
        "float_twin_sha256": runners.digest(twin),
        "bytes": file.stat().st_size,
        "parameters": nets.parameters(run.average),
        "labels": "labels.json",
        "input": describe_input(runtime, quantization["image"]),
        "outputs": describe_outputs(run.average.head.in_features, quantization),
        "temperature": round(fit_temperature(logits, given.held.y), 4),
        "golden": {"file": golden.name, "sha256": runners.digest(golden), "inputs": GOLDEN},
        "training": describe_training(run, recipe),
        "accuracy": describe_accuracy(file, twin, affine, given.test),
    }
    write_json(folder / f"{recipe.name}.card.json", card)
    write_json(folder / "labels.json", given.names)
    return card


def write_json(path: Path, content: Any) -> None:
    """Write JSON that diffs well."""
    path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def export(
    net: nets.Classifier, runtime: str, file: Path, twin: Path, frames: data.U8
) -> dict[str, tuple[float, int]]:
    """Write float twin and int8 file; returns scale and zero point of the ends by name."""
    if runtime == "onnx":
        quantize_onnx.export_float(nets.folded(net), twin)
        quantize_onnx.quantize_onnx(twin, file, runners.chw(runners.to_float(frames)))
        return quantize_onnx.quantization(file)
    quantize_tflite.export_float(nets.folded(net), twin)
    quantize_tflite.quantize_tflite(twin, file, runners.to_float(frames))
    return quantize_tflite.quantization(file)


def describe_input(runtime: str, affine: tuple[float, int]) -> dict[str, Any]:
    """The input as the card states it; scale 1/255 keeps 8-bit pixels exact."""
    if abs(affine[0] - 1 / 255) > 1e-9 or affine[1] != -128:
        raise ValueError(f"input quantization is {affine}, want 1/255 and -128")
    return {
        "name": "image",
        "layout": LAYOUT[runtime],
        "dtype": "int8",
        "scale": affine[0],
        "zero_point": affine[1],
        "size": [data.SIDE, data.SIDE],
        "colour": "RGB",
        "resize": "area",
        "fit": "stretch",
    }


def describe_outputs(width: int, found: dict[str, tuple[float, int]]) -> list[dict[str, Any]]:
    """Scores first, embedding second."""
    kinds = (("scores", "logits", data.CLASSES), ("embedding", "embedding", width))
    return [
        {
            "name": name,
            "kind": kind,
            "dtype": "int8",
            "scale": found[name][0],
            "zero_point": found[name][1],
            "size": size,
        }
        for name, kind, size in kinds
    ]


def describe_training(run: Run, recipe: Recipe) -> dict[str, Any]:
    """Data, split, seed, epochs, seconds and the recipe in one sentence."""
    parts = [
        f"AdamW, weight decay {recipe.weight_decay:g}, batch {recipe.batch}",
        f"label smoothing {recipe.smoothing:g}, weight average {recipe.average:g}",
    ]
    if recipe.teacher:
        parts.append(f"distilled from {recipe.teacher}")
    if recipe.blend:
        parts.append(
            f"exported weights: {recipe.blend:g} of the end of the first cycle, rest final"
        )
    for cycle in recipe.cycles:
        parts.append(f"{cycle.epochs} epochs of a cosine from lr {cycle.lr:g}")
        if cycle.attacked:
            radius = cycle.attacked.radius * 255
            steps = ", ".join(f"{n} from {start} %" for start, n in cycle.attacked.steps)
            parts.append(
                f"on PGD images within {radius:.1f}/255 (Linf), steps: {steps} of the cycle"
            )
    return {
        "data": "GTSRB train_32 without the calibration tracks and class 14 track 23",
        "split": "split.json",
        "seed": recipe.seed,
        "epochs": run.epoch,
        "seconds": round(run.seconds),
        "recipe": "; ".join(parts),
    }


def describe_accuracy(
    file: Path, twin: Path, affine: runners.Affine, test: data.Images
) -> dict[str, Any]:
    """Float and int8 accuracy on the test half, each on its own runtime."""
    steps = runners.run(file, test.x)[0]
    right = {
        "float": runners.run(twin, test.x)[0].argmax(1) == test.y,
        "int8": steps.argmax(1) == test.y,
    }
    rails = float((np.abs(steps.max(1).astype(np.int16)) >= 127).mean())
    return {
        "data": "test_public_32",
        "n": len(test),
        "float": round(float(right["float"].mean()), 5),
        "int8": round(float(right["int8"].mean()), 5),
        "interval": [round(v, 5) for v in figures.wilson(int(right["int8"].sum()), len(test))],
        "top_logit_at_rail": round(rails, 5),
        "score_step": round(affine.scale, 6),
    }


def write_golden(file: Path, held: data.Images, folder: Path) -> Path:
    """Write <name>.golden.npz and return its path.

    x int8 [8, ...] is what is fed to the model; scores int8 [8, 43] and embedding int8 [8, D] are
    what the reference runtime answered; y uint8 [8] are the true labels.
    """
    labels = np.linspace(0, data.CLASSES - 1, GOLDEN).astype(int)
    pick = np.array([np.flatnonzero(held.y == label)[20] for label in labels])
    frames = held.x[pick]
    scores, embedding = runners.run(file, frames)
    fed = runners.to_int8(frames if file.suffix == ".tflite" else runners.chw(frames))
    path = folder / f"{file.stem}.golden.npz"
    np.savez(path, x=fed, scores=scores, embedding=embedding, y=held.y[pick].astype(np.uint8))
    return path


def fit_temperature(logits: runners.F32, y: npt.NDArray[np.int64]) -> float:
    """The temperature with the least negative log likelihood; golden-section search on its log."""

    def nll(log_t: float) -> float:
        z = logits.astype(np.float64) / np.exp(log_t)
        z -= z.max(axis=1, keepdims=True)
        return float((np.log(np.exp(z).sum(1)) - z[np.arange(len(y)), y]).mean())

    low, high, shrink = np.log(0.05), np.log(20.0), (np.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        a, b = high - shrink * (high - low), low + shrink * (high - low)
        low, high = (low, b) if nll(a) < nll(b) else (a, high)
    return float(np.exp((low + high) / 2))
