# SPDX-License-Identifier: Apache-2.0
"""`edgeguard lab patch`: one picture that deceives all members, in whatever frame it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgeguard.cli.progress import shown
from edgeguard.errors import EdgeguardError
from edgeguard.zoo import models_dir

KEPT = Path(".zoo/drive/clean")
TRACKS = 24  # that are driven for them
MOST = 500  # frames to make them on, spread over all that there are


@click.command()
@click.argument("name", type=click.Choice(["drive"]))
@click.option("--models", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              help="With guard.toml and the members' float twins; patch.npz is written there.  "
              "[default: models/drive]")  # fmt: skip
@click.option("--frames", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE.npz",
              help="What to make them on: x [N,84,96,3] uint8, RGB.  [default: clean drives on the "
              "calibration tracks, kept in .zoo/drive/clean]")  # fmt: skip
@click.option("--seed", default=0, show_default=True)
def command(name: str, models: Path | None, frames: Path | None, seed: int) -> None:
    """Make the patches of the driving loop again: one that stays in the picture, one that lies
    printed on the road.

    From the float twins of all members. Takes a minute, and a few more where nobody drove yet.
    What they do: edgeguard drive --cells "patch,printed patch". Needs the extras `lab` and `drive`.
    """
    folder = models or models_dir(name)
    if not (folder / "guard.toml").is_file():
        raise EdgeguardError(f"{folder}: has no guard.toml, whose members are to be deceived")
    from edgeguard.lab.attacks.driving import make_patches
    from edgeguard.streams.loops.patch import FILE

    make_patches(folder, _read(frames or _driven(folder / "guard.toml")), seed)
    click.echo(f"{folder / FILE}: written")


def _driven(policy: Path) -> Path:
    """Frames of clean drives, driven where they are not kept yet. They do not depend on the patches
    that were made of them."""
    from edgeguard import config
    from edgeguard.streams.loops.clean import FRAMES, record
    from edgeguard.streams.loops.kept import of_policy
    from edgeguard.streams.loops.patch import FILE
    from edgeguard.streams.loops.tracks import CALIBRATION

    folder = KEPT / of_policy(policy, but=FILE)
    if not (folder / FRAMES).is_file():
        record(config.load(policy), list(CALIBRATION[:TRACKS]), folder, shown(TRACKS))
    return folder / FRAMES


def _read(file: Path) -> Any:
    import numpy as np

    from edgeguard.streams.loops.racing import VIEW

    try:
        with np.load(file) as kept:
            x = kept["x"]
    except (OSError, ValueError, KeyError) as error:
        raise EdgeguardError(f"{file}: {error}; want an .npz file with x [N,84,96,3]") from None
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[1:] != (*VIEW, 3) or not len(x):
        raise EdgeguardError(f"{file}: x is {x.dtype} {list(x.shape)}; want uint8 [N,84,96,3]")
    return x[:: max(1, len(x) // MOST)]
