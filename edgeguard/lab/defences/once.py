# SPDX-License-Identifier: Apache-2.0
"""Members that are trained here: made once for each request, and whole or not at all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path

from edgeguard.lab.attacks.campaign import digest_of
from edgeguard.lab.defences.bench import Bench
from edgeguard.lab.zoo import data
from edgeguard.zoo import models_dir

HERE = Path(__file__).resolve()
ZOO = ("adversarial", "augment", "data", "nets", "onnx_torch", "quantize_onnx", "runners", "train")
TRAINED_ON = ("train_32.webp", "train_32_index.npz")


def key_of(bench: Bench, modules: Iterable[Path], twin: Path, recipe: object) -> str:
    """12 hex digits of all that a member depends on: these modules and those of the zoo that
    training uses, the training frames and their split, the float twin, the recipe; so that no
    other request takes its file for its own."""
    zoo = [Path(data.__file__).with_name(f"{name}.py") for name in ZOO]
    frames = [bench.root / "gtsrb" / name for name in TRAINED_ON]
    sources = [HERE, *modules, *zoo, *frames, models_dir() / "split.json"]
    return digest_of(sources, twin, repr(recipe).encode())


def calibrating(bench: Bench) -> data.U8:
    """Frames uint8 [N, H, W, 3] that an int8 file takes its ranges from."""
    return bench.split[1].x[::5]


def make(file: Path, write: Callable[[Path], None]) -> None:
    """Where `file` is not there yet, let it be written in a folder of its own, with all that
    belongs to it, and move it last: where it is, all is."""
    if file.exists():
        return
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        write(Path(folder) / file.name)
        for part in sorted(Path(folder).iterdir(), key=lambda part: part.name == file.name):
            part.replace(file.with_name(part.name))
