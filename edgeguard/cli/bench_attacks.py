# SPDX-License-Identifier: Apache-2.0
"""The lab's attacks against the libraries that people use, on the same float models in one run.

Speed: the same budget on `plain`, one thread, each way twice in turns; the better time counts. The
lab's PGD leaves a picture alone once it is read wrongly, ART's does not: `steady` is the lab's that
runs to its end as well. With the times stand the success and the median norm, for a fast attack
that finds less is not faster. Strength: PGD beside PGD and APGD beside APGD on `robust`, with equal
steps and starts; every picture is rounded to 8 bits before it counts.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import evolve
from torch import Tensor, nn

from edgeguard.figures import Figure, at_least
from edgeguard.lab.attacks.apgd import APGD
from edgeguard.lab.attacks.cw import CarliniL2
from edgeguard.lab.attacks.pgd import PGD
from edgeguard.lab.attacks.threat import Threat
from edgeguard.lab.attacks.victim import U8, Ints, Target, images
from edgeguard.lab.defences.static import SteadyPGD
from edgeguard.lab.zoo import data
from edgeguard.lab.zoo.figures import wilson
from edgeguard.lab.zoo.onnx_torch import OnnxNet
from edgeguard.zoo import models_dir

PGD_BAR, CW_BAR = 1.5, 5.0  # times as fast as ART
RADIUS, STEPS = 8 / 255, 40
SEARCHES, CW_STEPS = 9, 100
STRENGTH = (2, 4, 8)  # grey levels
SEED = 5
Attack = Callable[[Tensor, Tensor], Tensor]


class Float(nn.Module):
    """A float twin, as the lab's attacks and as the libraries take it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.net = OnnxNet(path)

    def forward(self, x: Tensor) -> Tensor:
        """Scores [N, n] of images [N, 3, 32, 32]."""
        return self.net.scores(x)

    def scores(self, x: Tensor) -> Tensor:
        """The same."""
        return self.net.scores(x)

    def labels(self, pixels: U8) -> Ints:
        """Of pictures uint8, [N]."""
        with torch.no_grad():
            return np.asarray(self.net.scores(images(pixels)).argmax(1).numpy())


def figures(rounds: int, data_dir: str | None = None) -> list[Figure]:
    """rivals.{pgd,cw}.* and rivals.robust.N.*. Raises FileNotFoundError without the data,
    ModuleNotFoundError without the libraries."""
    torch.set_num_threads(1)
    np.random.seed(SEED)
    torch.manual_seed(SEED)  # foolbox from this
    plain, robust = (Float(models_dir() / f"{name}.float.onnx") for name in ("plain", "robust"))
    pgd, cw = _pgd(plain), _cw(plain)  # first what needs the libraries
    strong = {levels: _ways(robust, levels / 255) for levels in STRENGTH}
    root = data.data_root(data_dir)
    test = data.load_file(root / "gtsrb" / "test_public_32.npz")
    found = speed("pgd", plain, pgd, *_right(plain, test, rounds // 2), PGD_BAR)
    found += speed("cw", plain, cw, *_right(plain, test, rounds // 8), CW_BAR)
    x, y = _right(robust, test, rounds // 2)
    for levels, ways in strong.items():
        found += strength(robust, Threat("linf", levels / 255), ways, x, y)
    return found


def _right(model: Float, test: data.Images, count: int) -> tuple[Tensor, Tensor]:
    """Pictures [count, 3, H, W] that the model reads rightly, and their labels."""
    order = np.random.default_rng(SEED).permutation(len(test))[: 2 * count]
    pixels, y = np.ascontiguousarray(test.x[order].transpose(0, 3, 1, 2)), test.y[order]
    rows = np.flatnonzero(model.labels(pixels) == y)[:count]
    return images(pixels[rows]), torch.from_numpy(y[rows])


def _classifier(model: Float) -> Any:
    from art.estimators.classification import PyTorchClassifier

    return PyTorchClassifier(
        model, nn.CrossEntropyLoss(), (3, 32, 32), data.CLASSES, clip_values=(0.0, 1.0),
        device_type="cpu",
    )  # fmt: skip


def _from_art(attack: Any) -> Attack:
    def run(x: Tensor, y: Tensor) -> Tensor:
        return torch.from_numpy(attack.generate(x.numpy(), y.numpy()))

    return run


def _pgd(model: Float) -> dict[str, Attack]:
    from art.attacks.evasion import ProjectedGradientDescent

    theirs = ProjectedGradientDescent(
        _classifier(model), eps=RADIUS, eps_step=0.1 * RADIUS, max_iter=STEPS, num_random_init=1,
        batch_size=256, verbose=False,
    )  # fmt: skip
    ours = PGD(Threat("linf", RADIUS), STEPS, 0.1, 1)
    steady = SteadyPGD(Threat("linf", RADIUS), STEPS, 0.1)
    return {
        "own": lambda x, y: ours(model, x, y), "steady": lambda x, y: steady(model, x, y),
        "art": _from_art(theirs),
    }  # fmt: skip


def _cw(model: Float) -> dict[str, Attack]:
    from art.attacks.evasion import CarliniL2Method

    theirs = CarliniL2Method(
        _classifier(model), binary_search_steps=SEARCHES, max_iter=CW_STEPS, learning_rate=0.01,
        initial_const=0.1, batch_size=256, verbose=False,
    )  # fmt: skip
    ours = CarliniL2(CW_STEPS, SEARCHES, 0.01, 0.1, grid=False)
    return {"own": lambda x, y: ours(model, x, y), "art": _from_art(theirs)}


def speed(
    name: str, model: Target, ways: Mapping[str, Attack], x: Tensor, y: Tensor, bar: float
) -> list[Figure]:
    """`own` against `art`, and what each of the ways took and found."""
    took, made = dict.fromkeys(ways, float("inf")), {}
    for _ in range(2):
        for way, attack in ways.items():
            begun = time.perf_counter()
            made[way] = attack(x, y)
            took[way] = min(took[way], time.perf_counter() - begun)
    at, n = f"rivals.{name}", len(y)
    found = [at_least(f"{at}.speed", took["art"] / took["own"], bar, n=n)]
    for way, adv in made.items():
        with torch.no_grad():
            wrong = model.scores(adv).argmax(1) != y
        found.append(Figure(f"{at}.{way}.seconds", took[way], "s", n))
        found.append(_share(f"{at}.{way}.success", int(wrong.sum()), n))
        if wrong.any():
            norm = (adv - x).flatten(1).norm(dim=1)[wrong]
            found.append(Figure(f"{at}.{way}.l2_median", float(norm.median()), "1", len(norm)))
    return found


def strength(
    model: Target, threat: Threat, ways: Mapping[str, Attack], x: Tensor, y: Tensor
) -> list[Figure]:
    """Each way; `own.NAME` has to find as much as the best of the others that are NAME too."""
    hits = {way: int(_fooled(model, a(x, y), x, y, threat).sum()) for way, a in ways.items()}
    found = []
    for way, count in hits.items():
        own, _, kind = way.partition(".")
        figure = _share(f"rivals.robust.{round(threat.bound * 255)}.{way}", count, len(y))
        if own == "own":
            best = max(h for w, h in hits.items() if w != way and w.endswith(f".{kind}"))
            figure = evolve(figure, bar=f">= {best / len(y):g}, the best of theirs",
                            holds=count >= best)  # fmt: skip
        found.append(figure)
    return found


def _ways(model: Float, radius: float) -> dict[str, Attack]:
    """WHOSE.NAME: PGD on cross entropy and APGD on DLR, of the lab and of the libraries."""
    from art.attacks.evasion import AutoProjectedGradientDescent, ProjectedGradientDescent
    from foolbox.attacks import LinfPGD
    from foolbox.models.pytorch import PyTorchModel

    classifier, threat = _classifier(model), Threat("linf", radius)
    near = {"eps": radius, "batch_size": 256, "verbose": False}
    pgd, apgd = PGD(threat, STEPS, 0.1, 1), APGD(threat, STEPS, 1)
    fooled = PyTorchModel(model.eval(), bounds=(0, 1), device="cpu")
    linf = LinfPGD(rel_stepsize=0.1, steps=STEPS)
    return {
        "own.pgd": lambda x, y: pgd(model, x, y),
        "art.pgd": _from_art(ProjectedGradientDescent(
            classifier, eps_step=0.1 * radius, max_iter=STEPS, num_random_init=1, **near)),
        "foolbox.pgd": lambda x, y: linf(fooled, x, y, epsilons=radius)[1],
        "own.apgd": lambda x, y: apgd(model, x, y),
        "art.apgd": _from_art(AutoProjectedGradientDescent(
            classifier, eps_step=2 * radius, max_iter=STEPS, nb_random_init=1,
            loss_type="difference_logits_ratio", **near)),
    }  # fmt: skip


def _fooled(model: Target, adv: Tensor, x: Tensor, y: Tensor, threat: Threat) -> Tensor:
    """As an 8-bit picture inside the threat."""
    kept = threat.project((adv * 255).round() / 255, x)
    with torch.no_grad():
        wrong: Tensor = model.scores(kept).argmax(1) != y
        return wrong


def _share(at: str, hits: int, n: int) -> Figure:
    return Figure(at, hits / n, "1", n, wilson(hits, n))


def lines(found: list[Figure]) -> str:
    """As a table."""
    rows = []
    for f in found:
        bar = "" if f.bar is None else f"  {f.bar}: {'yes' if f.holds else 'no'}"
        rows.append(f"  {f.id:32}{f.value:10.3f} {f.unit:2}{bar}")
    return "\n".join(rows)
