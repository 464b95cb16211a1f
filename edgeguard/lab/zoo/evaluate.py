# SPDX-License-Identifier: Apache-2.0
"""``edgeguard lab evaluate gtsrb``: what the reference models are worth, against their bars.

Float and int8 side by side, each on its own runtime; the robust member under attack; the vote.
Exits 1, and names it, if a bar does not hold.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.progress import track

from edgeguard import figures
from edgeguard.errors import EdgeguardError
from edgeguard.figures import Figure, at_most
from edgeguard.lab.zoo import data, runners
from edgeguard.lab.zoo.figures import rate
from edgeguard.lab.zoo.runners import Model
from edgeguard.lab.zoo.vote import vote_figures
from edgeguard.npz import read_npz

MODELS = Path(__file__).resolve().parents[3] / "models" / "gtsrb"
NAMES = ("plain", "compact", "robust")
BARS = {"plain": 0.993, "compact": 0.98, "robust": 0.96}
PGD_BARS = {2: 0.86, 4: 0.72}  # grey levels of the radius -> share of images that stays right
INT8_LOSS = 0.002  # int8 may be this far from float
SEED = 7  # of the choice of attacked images and of the attack's random starts
PACKAGES = ("numpy", "onnxruntime", "ai-edge-litert", "torch")


def evaluate(
    data_dir: str | Path | None = None,
    n_pgd: int = 1000,
    json: str | Path | None = None,
    file: str | Path | None = None,
    models: str | Path = MODELS,
) -> int:
    """Measure, print the table, write the results file; returns 0 if every bar holds, else 1.

    file: images to report on (default test_public_32.npz); n_pgd: how many of them are attacked,
    0 for none. The calibration tracks come from data_dir; without it the vote is held to the
    certainty that guard.toml asks for. Raises EdgeguardError for a file that does not fit.
    """
    models = Path(models)
    if json:
        figures.check_writable(Path(json))
    root = find_root(data_dir, needed=file is None)
    test = read_images(Path(file) if file else data.data_root(root) / "gtsrb/test_public_32.npz")
    found: list[Figure] = []
    for name in NAMES:
        found += accuracy_figures(read_model(models, name), test)
    if n_pgd and find_spec("torch") is None:
        print("the attack is left out: it needs torch (pip install 'edgeguard-monitor[lab]')")
    elif n_pgd:
        found += pgd_figures(read_model(models, "robust"), test, n_pgd)
    vote, sentence = vote_figures(models, read_calibration(root, models), test)
    found += vote
    print(sentence)
    print(table(found))
    if json:
        figures.write(Path(json), found, SEED, PACKAGES)
    missed = [f.id for f in found if f.holds is False]
    if missed:
        print("bars that do not hold: " + ", ".join(missed))
    return 1 if missed else 0


def find_root(given: str | Path | None, needed: bool) -> Path | None:
    """The data directory, or None where it is neither there nor needed."""
    try:
        return data.data_root(given)
    except FileNotFoundError as error:
        if needed or given:
            raise EdgeguardError(str(error)) from None
        return None


def read_images(path: Path) -> data.Images:
    """The images to report on. Raises EdgeguardError."""
    read_npz(path)  # names what is wrong with the file itself
    try:
        return data.load_file(path)
    except KeyError as error:
        raise EdgeguardError(f"{path}: {error.args[0]}; want x and y") from None
    except (TypeError, ValueError, IndexError) as error:
        raise EdgeguardError(str(error)) from None


def read_model(models: Path, name: str) -> Model:
    """A model with its float twin. Raises EdgeguardError."""
    try:
        return Model.load(models, name)
    except FileNotFoundError as error:
        raise EdgeguardError(
            f"{error.filename}: no such file; a wheel leaves the float twins out: evaluate in a "
            "checkout of the repository"
        ) from None
    except ValueError as error:
        raise EdgeguardError(str(error)) from None


def read_calibration(root: Path | None, models: Path) -> data.Images | None:
    """The images of the calibration tracks; None, and said so, where they are not."""
    if root is None or not (root / "gtsrb" / "train_32.webp").is_file():
        print("no calibration tracks (--data-dir): the vote is held to what guard.toml asks for")
        return None
    return data.split(data.load_train(root), data.read_split(models / "split.json"))[1]


def accuracy_figures(model: Model, test: data.Images) -> list[Figure]:
    """Accuracy of the float twin and of the int8 file, and how far they are apart."""
    twin = int((runners.run(model.twin, test.x)[0].argmax(1) == test.y).sum())
    int8 = int((runners.run(model.file, test.x)[0].argmax(1) == test.y).sum())
    bar, name = BARS[model.name], f"gtsrb.{model.name}"
    return [
        rate(f"{name}.float.accuracy", twin, len(test), bar),
        rate(f"{name}.int8.accuracy", int8, len(test), bar),
        at_most(f"{name}.int8.away", abs(twin - int8) / len(test), INT8_LOSS, n=len(test)),
    ]


def pgd_figures(
    model: Model, test: data.Images, n: int, restarts: int = 5, steps: int = 20
) -> list[Figure]:
    """Accuracy of the float twin under PGD on n images of a seeded choice, at each radius."""
    import torch

    from edgeguard.lab.zoo.adversarial import PGD, Linf, Target
    from edgeguard.lab.zoo.onnx_torch import OnnxNet

    pick = np.sort(np.random.default_rng(SEED).permutation(len(test))[:n])
    x = torch.from_numpy(runners.chw(runners.to_float(test.x[pick])))
    y = torch.from_numpy(test.y[pick])
    parts = list(zip(torch.split(x, 100), torch.split(y, 100), strict=True))
    target = Target(OnnxNet(model.twin).scores)
    attack = PGD(steps=steps, restarts=restarts, seed=SEED)
    found = []
    for grey, bar in PGD_BARS.items():
        held = 0
        for images, labels in track(
            parts, f"PGD-{steps} x {restarts} at {grey}/255", transient=True
        ):
            _, margin = attack(target, images, labels, Linf(grey / 255))
            held += int((margin > 0).sum())
        found.append(rate(f"gtsrb.{model.name}.pgd.{grey}", held, len(pick), bar))
    return found


def table(found: list[Figure]) -> str:
    """The figures as lines of text."""
    lines = [f"{'figure':<34} {'value':>8}  {'n':>5}  {'95 % interval':<17} {'bar':<10} holds"]
    for f in found:
        interval = "{:6.2f} - {:6.2f}".format(*(100 * v for v in f.interval)) if f.interval else ""
        holds = {True: "yes", False: "NO", None: ""}[f.holds]
        lines.append(
            f"{f.id:<34} {100 * f.value:7.2f}%  {f.n:>5}  {interval:<17} {f.bar or '':<10} {holds}"
        )
    return "\n".join(lines)
