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
    ``checkpoints``, by default ``.zoo`` here. Those of another number of epochs than the recipe's
    lie apart: the one must not go on from the other. Raises EdgeguardError for a checkpoint, its
    own or its teacher's, that was made with another recipe, split or data.
    """
    out_dir = Path(out_dir)
    recipe = recipe_for(name, epochs)
    root, training, held = prepare(data_dir, out_dir)
    kept = Path(checkpoints) if checkpoints else Path(".zoo")
    checkpoint = checkpoint_of(name, epochs, kept)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    run = fit(recipe, training, held, checkpoint, kept)
    test = data.load_file(root / "gtsrb" / "test_public_32.npz")
    return cards.publish(run, recipe, cards.Material(held, test, data.class_names(root)), out_dir)


def checkpoint_of(name: str, epochs: int | None, kept: Path) -> Path:
    """Where a run of a member is kept, the recipe's own or one of another length."""
    return (kept / f"epochs-{epochs}" if epochs else kept) / f"{name}.pt"
