# SPDX-License-Identifier: Apache-2.0
"""Run a model file over many images on its own runtime, one thread.

This is the lab's reference: the golden vectors in the cards come from here, and the runtime
is measured against them. Images are uint8 [N, 32, 32, 3] RGB; scores come back float32 [N, 43],
as int8 steps where the file is int8 (``Model.logits`` makes numbers of them).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rich.progress import track

F32 = npt.NDArray[np.float32]
I8 = npt.NDArray[np.int8]
U8 = npt.NDArray[np.uint8]


def to_int8(x: U8) -> I8:
    """Pixels as int8 of scale 1/255 and zero point -128; exact."""
    steps: I8 = (x.astype(np.int16) - 128).astype(np.int8)
    return steps


def to_float(x: U8) -> F32:
    """Pixels as [0, 1]."""
    share: F32 = x.astype(np.float32) / np.float32(255)
    return share


def chw(x: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """[N, H, W, C] -> [N, C, H, W]."""
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def digest(path: Path) -> str:
    """sha256 of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


@dataclass(frozen=True)
class Affine:
    """Scale and zero point of an int8 tensor."""

    scale: float
    zero_point: int

    def dequantize(self, steps: npt.NDArray[Any]) -> F32:
        """int8 steps as numbers."""
        numbers: F32 = (steps.astype(np.float32) - self.zero_point) * np.float32(self.scale)
        return numbers


def run(path: Path, x: U8) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Scores and embedding of images, in the type that the file gives (float32 or int8)."""
    return run_tflite(path, x) if path.suffix == ".tflite" else run_onnx(path, x)


def run_onnx(path: Path, x: U8, batch: int = 64) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """On ONNX Runtime, CPU; images become CHW."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    prepare = to_int8 if entry.type == "tensor(int8)" else to_float
    parts = np.array_split(chw(x), max(1, -(-len(x) // batch)))
    found = [
        session.run(["scores", "embedding"], {entry.name: prepare(p)})
        for p in track(parts, path.name, transient=True)
    ]
    return np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])


def run_tflite(path: Path, x: U8) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """On LiteRT, CPU, image by image; images stay HWC."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]
    ends = {d["name"]: d["index"] for d in interpreter.get_output_details()}
    ready = (to_int8 if entry["dtype"] == np.int8 else to_float)(x)
    scores, embeddings = [], []
    for image in track(ready, path.name, transient=True):
        interpreter.set_tensor(entry["index"], image[None])
        interpreter.invoke()
        scores.append(interpreter.get_tensor(ends["scores"])[0])
        embeddings.append(interpreter.get_tensor(ends["embedding"])[0])
    return np.stack(scores), np.stack(embeddings)


@dataclass(frozen=True)
class Model:
    """A reference model: its card and the folder that it lies in."""

    folder: Path
    card: dict[str, Any]

    @classmethod
    def load(cls, folder: Path, name: str) -> Model:
        """Read ``<name>.card.json``; the files must be those that the card names."""
        card = json.loads((folder / f"{name}.card.json").read_text())
        model = cls(folder, card)
        for path, wanted in ((model.file, card["sha256"]), (model.twin, card["float_twin_sha256"])):
            if digest(path) != wanted:
                raise ValueError(f"{path}: sha256 is not the one of {name}.card.json")
        return model

    @property
    def name(self) -> str:
        """plain, compact or robust."""
        return str(self.card["name"])

    @property
    def file(self) -> Path:
        """The int8 file that runs."""
        return self.folder / str(self.card["file"])

    @property
    def twin(self) -> Path:
        """Its float twin."""
        return self.folder / str(self.card["float_twin"])

    @property
    def scores(self) -> Affine:
        """Quantization of the scores."""
        entry = self.card["outputs"][0]
        return Affine(entry["scale"], entry["zero_point"])

    def logits(self, x: U8) -> F32:
        """Dequantized scores of the int8 file, [N, 43]."""
        return self.scores.dequantize(run(self.file, x)[0])

    def certainty(self, logits: F32) -> tuple[npt.NDArray[np.int64], F32]:
        """Label [N] and temperature-scaled probability [N] of the top class."""
        p = softmax(logits / np.float32(self.card["temperature"]))
        return p.argmax(1), p.max(1)


def softmax(z: F32) -> F32:
    """Rows of scores as rows of probabilities."""
    e = np.exp(z - z.max(axis=1, keepdims=True))
    p: F32 = e / e.sum(axis=1, keepdims=True)
    return p
