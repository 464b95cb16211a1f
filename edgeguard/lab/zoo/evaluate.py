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

from edgeguard.lab.zoo import data, figures, runners
from edgeguard.lab.zoo.figures import Figure, rate
from edgeguard.lab.zoo.runners import Model
from edgeguard.lab.zoo.vote import vote_figures

MODELS = Path(__file__).resolve().parents[3] / "models" / "gtsrb"
NAMES = ("plain", "compact", "robust")
BARS = {"plain": 0.993, "compact": 0.98, "robust": 0.96}
PGD_BARS = {2: 0.86, 4: 0.72}  # grey levels of the radius -> share of images that stays right
INT8_LOSS = 0.002  # int8 may be this far from float
SEED = 7  # of the choice of attacked images and of the attack's random starts


def evaluate(
    data_dir: str | Path | None = None,
    n_pgd: int = 1000,
    json: str | Path | None = None,
    file: str | Path | None = None,
    models: str | Path = MODELS,
) -> int:
    """Measure, print the table, write the results file; returns 0 if every bar holds, else 1.

    file: images to report on (default test_public_32.npz); n_pgd: how many of them are attacked,
    0 for none. The calibration tracks come from data_dir; without it the vote is left out.
    """
    models = Path(models)
    root = find_root(data_dir, needed=file is None)
    test = data.load_file(
        Path(file) if file else data.data_root(root) / "gtsrb" / "test_public_32.npz"
    )
    found: list[Figure] = []
    for name in NAMES:
        found += accuracy_figures(Model.load(models, name), test)
    if n_pgd and find_spec("torch") is None:
        print("the attack is left out: it needs torch (pip install 'edgeguard-monitor[lab]')")
    elif n_pgd:
        found += pgd_figures(Model.load(models, "robust"), test, n_pgd)
    if root is None:
        print("the vote is left out: its thresholds need the calibration tracks (--data-dir)")
    else:
        _, calibration = data.split(data.load_train(root), data.read_split(models / "split.json"))
        vote, thresholds = vote_figures(models, calibration, test)
        found += vote
        print(
            "certainty thresholds "
            + ", ".join(f"{n} {t:.3f}" for n, t in zip(NAMES, thresholds, strict=True))
        )
    print(table(found))
    if json:
        figures.write(Path(json), found, SEED)
    missed = [f.id for f in found if f.holds is False]
    if missed:
        print("bars that do not hold: " + ", ".join(missed))
    return 1 if missed else 0


def find_root(given: str | Path | None, needed: bool) -> Path | None:
    """The data directory, or None where it is neither there nor needed."""
    try:
        return data.data_root(given)
    except FileNotFoundError:
        if needed or given:
            raise
        return None


def accuracy_figures(model: Model, test: data.Images) -> list[Figure]:
    """Accuracy of the float twin and of the int8 file, and how far they are apart."""
    twin = int((runners.run(model.twin, test.x)[0].argmax(1) == test.y).sum())
    int8 = int((runners.run(model.file, test.x)[0].argmax(1) == test.y).sum())
    bar, name = BARS[model.name], f"gtsrb.{model.name}"
    return [
        rate(f"{name}.float.accuracy", twin, len(test), bar),
        rate(f"{name}.int8.accuracy", int8, len(test), bar),
        away(f"{name}.int8.away", abs(twin - int8), len(test)),
    ]


def away(name: str, images: int, n: int) -> Figure:
    """Share of accuracy between float and int8, which has to be small."""
    share = images / n
    return Figure(
        name, share, n, figures.wilson(images, n), bar=f"<= {INT8_LOSS:g}", holds=share <= INT8_LOSS
    )


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
        interval = f"{100 * f.interval[0]:6.2f} - {100 * f.interval[1]:6.2f}"
        holds = {True: "yes", False: "NO", None: ""}[f.holds]
        lines.append(
            f"{f.id:<34} {100 * f.value:7.2f}%  {f.n:>5}  {interval:<17} {f.bar or '':<10} {holds}"
        )
    return "\n".join(lines)
