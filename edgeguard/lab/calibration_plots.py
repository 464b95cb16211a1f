# SPDX-License-Identifier: Apache-2.0
"""What a calibration looks like: reliability diagrams and risk-coverage curves."""

from __future__ import annotations

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from edgeguard.config.fixed import ONE
from edgeguard.evidence.calibration import Calibration
from edgeguard.evidence.selective import risk_coverage
from edgeguard.evidence.temperature import Reliability

matplotlib.rcParams.update({"svg.hashsalt": "edgeguard", "axes.grid": True, "grid.alpha": 0.3})


def draw(found: Calibration, folder: Path, stem: str) -> list[Path]:
    """Write STEM.reliability.svg and STEM.risk-coverage.svg; returns what was written."""
    written = []
    if found.reliability:
        written.append(folder / f"{stem}.reliability.svg")
        _save(_reliability(found), written[-1])
    if found.votes:
        written.append(folder / f"{stem}.risk-coverage.svg")
        _save(_risk_coverage(found), written[-1])
    return written


def _save(figure: Figure, path: Path) -> None:
    figure.savefig(path, metadata={"Date": None})


def _reliability(found: Calibration) -> Figure:
    """Guo et al. 2017, figure 1: accuracy over certainty; the gap to the diagonal is the error."""
    figure = Figure(figsize=(4.2 * len(found.reliability), 4.2), layout="constrained")
    axes = figure.subplots(1, len(found.reliability), squeeze=False)[0]
    for axis, (name, (before, after)) in zip(axes, found.reliability.items(), strict=True):
        axis.plot([0, 1], [0, 1], color="0.6", linewidth=1)
        _curve(axis, before, "T = 1", "C1")
        _curve(axis, after, f"T = {found.temperature[name]:.3g}", "C0")
        axis.set(title=name, xlabel="certainty", ylabel="share right", xlim=(0, 1), ylim=(0, 1.02))
        axis.legend(loc="lower right", frameon=False)
    return figure


def _curve(axis, bins: Reliability, name: str, color: str) -> None:
    filled = bins.count > 0
    size = 10 + 150 * bins.count[filled] / max(1, bins.count.sum())
    axis.plot(bins.certainty[filled], bins.accuracy[filled], color=color, linewidth=1)
    axis.scatter(
        bins.certainty[filled],
        bins.accuracy[filled],
        s=size,
        color=color,
        label=f"{name}, ECE {bins.ece:.2%}",
    )


def _risk_coverage(found: Calibration) -> Figure:
    """Geifman & El-Yaniv 2017: what is wrong among the accepted, over what is accepted."""
    figure = Figure(figsize=(5.6, 4.2), layout="constrained")
    axis = figure.subplots()
    for number, (key, (votes, y)) in enumerate(found.votes.items()):
        coverage, risk = risk_coverage(votes, y)
        axis.plot(coverage, risk, color=f"C{number}", label=" ".join(key))
        if key in found.threshold:
            threshold = found.threshold[key]
            axis.plot(threshold.coverage, 1 - threshold.accuracy, "o", color=f"C{number}")
            axis.annotate(
                f" {threshold.value / ONE:.3f}",
                (threshold.coverage, 1 - threshold.accuracy),
                va="bottom",
                ha="right",
            )
    for alpha in sorted({t.alpha for t in found.threshold.values()}):
        axis.axhline(alpha, color="0.6", linewidth=1, linestyle=":")
        axis.text(0.01, alpha, f" alpha {alpha:g}", va="bottom", color="0.4")
    top = [risk_coverage(votes, y)[1].max(initial=0.0) for votes, y in found.votes.values()]
    alphas = [t.alpha for t in found.threshold.values()]
    axis.set(xlabel="coverage (frames accepted)", ylabel="risk (wrong among accepted)", xlim=(0, 1))
    axis.set_ylim(0, 1.15 * float(np.max([*top, *alphas, 1e-3])))
    axis.legend(loc="center left", frameon=False)
    return figure
