# SPDX-License-Identifier: Apache-2.0
"""GTSRB as arrays, split by track so that no physical sign is on two sides of the split.

Source and flaws of the data: README of the data directory, section 1. Images are uint8
[N, 32, 32, 3] RGB, labels int64 [N] in 0..42.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

CLASSES = 43
SIDE = 32
SPLIT_SEED = 20_260_101
CALIBRATION_TRACKS = 150
# Class 14 track 23 holds the very pixels of test images 666, 3546 and 3594.
EXCLUDED = (14_023,)

U8 = npt.NDArray[np.uint8]
I64 = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Images:
    """Labelled images: x uint8 [N, 32, 32, 3] RGB, y int64 [N].

    track int64 [N] is class * 1000 + track, or -1 where there are no tracks.
    """

    x: U8
    y: I64
    track: I64

    def __len__(self) -> int:
        return len(self.y)

    def where(self, mask: npt.NDArray[np.bool_] | I64) -> Images:
        """The images that a mask or an index array selects."""
        return Images(self.x[mask], self.y[mask], self.track[mask])


def data_root(given: str | Path | None = None) -> Path:
    """The directory that holds ``gtsrb/``: the argument, else $EDGEGUARD_DATA, else
    ../shared/data. Raises FileNotFoundError, also when another one of them would have it: figures
    are of the data that was named."""
    beside = Path(__file__).resolve().parents[4] / "shared" / "data"
    root = Path(given or os.environ.get("EDGEGUARD_DATA") or beside)
    if not (root / "gtsrb").is_dir():
        raise FileNotFoundError(
            f"{root}: there is no gtsrb/ in it; name the data directory with --data-dir or"
            " EDGEGUARD_DATA"
        )
    return root


def load_train(root: Path) -> Images:
    """All training frames of train_32.webp but those of the excluded tracks."""
    with np.load(root / "gtsrb" / "train_32_index.npz") as index:
        y = index["y"].astype(np.int64)
        track = y * 1000 + index["track"].astype(np.int64)
    with Image.open(root / "gtsrb" / "train_32.webp") as picture:
        sheet = np.asarray(picture.convert("RGB"))
    rows, columns = sheet.shape[0] // SIDE, sheet.shape[1] // SIDE
    tiles = sheet.reshape(rows, SIDE, columns, SIDE, 3).swapaxes(1, 2).reshape(-1, SIDE, SIDE, 3)
    keep = ~np.isin(track, EXCLUDED)
    return Images(np.ascontiguousarray(tiles[: len(y)][keep]), y[keep], track[keep])


def load_file(path: Path) -> Images:
    """Any file of the format of test_public_32.npz: x uint8 [N, 32, 32, 3], y [N] whole numbers in
    0..42, N > 0. Raises ValueError for another one."""
    with np.load(path) as file:
        x, y = file["x"], file["y"]
    pictures = x.shape[1:] == (SIDE, SIDE, 3) and x.dtype == np.uint8
    if not pictures or y.shape != (len(x),) or y.dtype.kind not in "iu" or len(y) == 0:
        raise ValueError(
            f"{path}: want x uint8 [N, {SIDE}, {SIDE}, 3] and y [N] whole numbers, N > 0, "
            f"got {x.dtype} {x.shape} and {y.dtype} {y.shape}"
        )
    if not 0 <= y.min() <= y.max() < CLASSES:
        raise ValueError(
            f"{path}: y goes from {y.min()} to {y.max()}; labels are 0 to {CLASSES - 1}"
        )
    return Images(x, y.astype(np.int64), np.full(len(y), -1, np.int64))


def choose_calibration(
    tracks: I64, total: int = CALIBRATION_TRACKS, seed: int = SPLIT_SEED
) -> list[int]:
    """Draw calibration tracks, stratified: in proportion to the tracks of a class, at least one.

    tracks are keys class * 1000 + track; returns about ``total`` sorted keys.
    """
    rng = np.random.default_rng(seed)
    keys = np.unique(tracks)
    chosen: list[int] = []
    for label in range(CLASSES):
        own = keys[keys // 1000 == label]
        count = max(1, round(total * 0.92 * len(own) / len(keys)))
        chosen += [int(k) for k in rng.permutation(own)[:count]]
    return sorted(chosen)


def write_split(path: Path, calibration: list[int]) -> None:
    """Write split.json: what was set aside, and with which seed."""
    path.write_text(
        json.dumps(
            {
                "seed": SPLIT_SEED,
                "unit": "track",
                "key": "class * 1000 + track",
                "excluded_tracks": list(EXCLUDED),
                "calibration_tracks": calibration,
            },
            indent=1,
        )
        + "\n"
    )


def read_split(path: Path) -> list[int]:
    """Calibration track keys of a split.json."""
    return [int(k) for k in json.loads(path.read_text())["calibration_tracks"]]


def split(images: Images, calibration: list[int]) -> tuple[Images, Images]:
    """Training frames and calibration frames; no track is in both."""
    held = np.isin(images.track, calibration)
    return images.where(~held), images.where(held)


def class_names(root: Path) -> list[str]:
    """The 43 names in the order of their labels."""
    names = json.loads((root / "gtsrb" / "class_names.json").read_text())
    return [names[str(k)] for k in range(CLASSES)]
