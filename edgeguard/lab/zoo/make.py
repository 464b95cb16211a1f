# SPDX-License-Identifier: Apache-2.0
"""Make a reference model again: train, quantize, describe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeguard.lab.zoo import cards, data
from edgeguard.lab.zoo.train import fit, prepare, recipe_for


def train(
    name: str,
    data_dir: str | Path | None,
    out_dir: str | Path,
    epochs: int | None = None,
    checkpoints: str | Path | None = None,
) -> dict[str, Any]:
    """Train one member to the end of its recipe, write its files into out_dir, return its card.

    A run writes a checkpoint after every epoch and goes on from its own; they lie in
    ``checkpoints``, by default ``<out_dir>/../../.zoo``.
    """
    out_dir = Path(out_dir)
    recipe = recipe_for(name, epochs)
    root, training, held = prepare(data_dir, out_dir)
    folder = Path(checkpoints) if checkpoints else out_dir.resolve().parents[1] / ".zoo"
    folder.mkdir(parents=True, exist_ok=True)
    run = fit(recipe, training, held, folder / f"{name}.pt")
    test = data.load_file(root / "gtsrb" / "test_public_32.npz")
    return cards.publish(run, recipe, cards.Material(held, test, data.class_names(root)), out_dir)
