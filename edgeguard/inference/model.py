# SPDX-License-Identifier: Apache-2.0
"""One face for the models of all runtimes, and the only door through which a model is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from edgeguard.card import Card
from edgeguard.errors import ModelRefused
from edgeguard.inference.buffers import Array
from edgeguard.inference.golden import self_test
from edgeguard.inference.quantization import FileSpec
from edgeguard.inference.refusal import refusing

SUFFIXES = {".onnx": "onnx", ".tflite": "litert"}


class Model(Protocol):
    """One loaded model: write its input, run it, read its scores.

    ``input`` [1, C, H, W], [1, H, W, C] or [1, n] in the file's dtype; ``scores`` flat [n], raw as
    the file gives them; ``embedding`` flat [d] or None. ``provider`` is the execution provider or
    delegate that really runs, as the runtime reports it. ``step`` is the quantization step of
    the scores, 0 for floats without one. One thread at a time.
    """

    card: Card
    path: str
    provider: str
    step: float
    input: Array
    scores: Array
    embedding: Array | None

    def bind_input(self, array: Array) -> None:
        """Read the input from ``array`` from now on; ValueError if it does not fit."""

    def bind_scores(self, array: Array) -> None:
        """Write the scores to ``array`` from now on; ValueError if it does not fit."""

    def run(self) -> None:
        """Run once, from ``input`` to ``scores`` and ``embedding``. Raises InferenceError."""

    def close(self) -> None:
        """Release the runtime's objects; the model cannot run afterwards."""


def load_model(
    card: Card,
    model_path: str | Path | None = None,
    runtime: str | None = None,
    providers: Sequence[str] = (),
) -> Model:
    """Open a model and hold it to its card: file hash, shapes, quantization, golden answers.

    ``model_path`` and ``runtime`` default to the card's. ``providers`` are ONNX Runtime execution
    providers, or LiteRT delegates; none means the CPU.

    Raises ModelRefused, which names the file and the reason; nothing else, whatever the file holds.
    """
    model = open_model(card, model_path, runtime, providers)
    try:
        self_test(model)
    except ModelRefused:
        model.close()
        raise
    return model


def open_model(
    card: Card,
    model_path: str | Path | None = None,
    runtime: str | None = None,
    providers: Sequence[str] = (),
) -> Model:
    """Open a model without its golden self-test: only to write golden vectors (`edgeguard init`).

    The file must still have the hash, shapes and quantization of the card. Raises ModelRefused.
    """
    path = Path(model_path) if model_path is not None else card.model_path
    runtime = runtime or card.runtime
    if runtime.replace("tflite", "litert") != card.runtime:
        raise ModelRefused(
            f"{path}: runtime: the card says {card.runtime}, the configuration says {runtime}"
        )
    data = read_model(card, path)
    with refusing(str(path)):
        if runtime == "onnx":
            from edgeguard.inference.onnx import OnnxModel

            return OnnxModel(card, data, str(path), providers)
        from edgeguard.inference.litert import LiteRtModel

        return LiteRtModel(card, data, str(path), providers, flavour=runtime)


def read_model(card: Card, path: Path) -> bytes:
    """The file that the card was written for. Raises ModelRefused for another one."""
    data = _read(path)
    found = hashlib.sha256(data).hexdigest()
    if found != card.sha256:
        raise ModelRefused(
            f"{path}: is not the file of its card {card.name!r}: SHA-256 {found[:12]}..., "
            f"the card says {card.sha256[:12]}...; restore the file, or write a new card with "
            "`edgeguard init`"
        )
    return data


def inspect_model(model_path: str | Path) -> FileSpec:
    """Inputs, outputs and quantization of a model file, by its suffix .onnx or .tflite.

    Raises ModelRefused for other suffixes and for files that are not what their suffix says.
    """
    path = Path(model_path)
    runtime = SUFFIXES.get(path.suffix)
    if runtime is None:
        raise ModelRefused(f"{path}: suffix {path.suffix!r} is neither .onnx nor .tflite")
    with refusing(str(path)):
        if runtime == "onnx":
            from edgeguard.inference.onnx_graph import read_onnx

            return read_onnx(_read(path), str(path))
        from edgeguard.inference.litert import read_tflite

        return read_tflite(_read(path), str(path))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ModelRefused(f"{path}: cannot be read: {error.strerror or error}") from None
