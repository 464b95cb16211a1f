# SPDX-License-Identifier: Apache-2.0
"""``edgeguard lab verify``: verdicts on a file as figures and lines of text."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from rich.progress import Progress
from torch import Tensor

from edgeguard.errors import EdgeguardError
from edgeguard.figures import Figure, at_most
from edgeguard.lab.verification.net import Net
from edgeguard.lab.verification.pixels import U8, Pixels
from edgeguard.lab.verification.read import read_net
from edgeguard.lab.verification.runtime import Check, Runtime, check
from edgeguard.lab.verification.second import CONFIRMED, CONTRADICTED, Opinion, second_opinion
from edgeguard.lab.verification.verify import Effort, Verdict, Verifier, tightened
from edgeguard.lab.zoo.figures import rate
from edgeguard.npz import read_npz
from edgeguard.zoo import models_dir

SEED = 7  # of the choice of pictures
CHECKED, CORNERS, CONSTANTS = 200, 16, 16  # inputs on which file and reading are compared
ZOO = "certified.onnx"
BARS = {"clean": 0.85, 1: 0.65, 2: 0.45}  # of the member that was trained for it


@dataclass(frozen=True)
class Labelled:
    """Pictures uint8 [N, H, W, C] and their classes int64 [N]."""

    x: U8
    y: torch.Tensor


def read_pictures(path: Path, n: int, pixels: Pixels) -> Labelled:
    """A seeded choice of n pictures of a file with x and y, which a net takes. Raises
    EdgeguardError."""
    content = read_npz(path)
    if "x" not in content or "y" not in content:
        raise EdgeguardError(f"{path}: has no x (uint8 [N, H, W, C]) and y (classes)")
    x, y = content["x"], content["y"]
    if x.dtype != np.uint8 or x.ndim != 4 or y.shape != (len(x),) or not len(x):
        raise EdgeguardError(
            f"{path}: want x uint8 [N, H, W, C] and y [N], got {x.dtype} {list(x.shape)} and "
            f"{list(y.shape)}"
        )
    pixels.fit(str(path), x)
    if y.dtype.kind not in "iu":
        raise EdgeguardError(f"{path}: y is {y.dtype}; want classes as whole numbers (int64)")
    classes = pixels.net.layers[pixels.net.output - 1].shape[0]
    outside = y[(y < 0) | (y >= classes)]
    if len(outside):
        raise EdgeguardError(
            f"{path}: y has the class {outside[0]}; the model has {classes}, from 0 on"
        )
    y = y.astype(np.int64)
    pick = np.sort(np.random.default_rng(SEED).permutation(len(y))[:n])
    return Labelled(x[pick], torch.from_numpy(y[pick]))


def open_checked(model: Path) -> tuple[Net, Runtime, list[Figure]]:
    """Read a file and compare it with the runtime; refuses a reading that its bounds exclude."""
    net = read_net(model)
    runtime = Runtime.open(net)
    found = compared(runtime, probes(net))
    name = f"verify.{model.stem}"
    return net, runtime, [
        at_most(f"{name}.outside", found.outside, 0, "answers", found.n),
        Figure(f"{name}.equal", found.equal, "1", found.n),
    ]  # fmt: skip


def probes(net: Net) -> Tensor:
    """Inputs on which file and reading are compared: noise, whose sums are small, and constants
    from end to end and corners, whose sums are large."""
    g = torch.Generator().manual_seed(SEED)
    low, high = net.input.low, net.input.high
    noise = torch.rand(CHECKED, *net.shape, generator=g, dtype=torch.float64)
    corners = torch.rand(CORNERS, *net.shape, generator=g, dtype=torch.float64).round()
    flat = torch.linspace(0, 1, CONSTANTS, dtype=torch.float64).view(-1, *[1] * len(net.shape))
    return torch.cat([
        (noise * (high - low + 1)).floor() + low, corners * (high - low) + low,
        (flat * (high - low)).round().expand(-1, *net.shape) + low,
    ])  # fmt: skip


def compared(runtime: Runtime, q: Tensor) -> Check:
    """Compare file and reading on inputs [N, *shape]. Raises EdgeguardError where an answer lies
    outside of the bounds of its own input."""
    found = check(runtime, q)
    if found.outside:
        raise EdgeguardError(
            f"{runtime.net.source}: {found.outside} of {found.n} answers of ONNX Runtime lie "
            "outside of their bounds: here it computes the file otherwise than its operators say "
            "(sums that saturate at 16 bits, layers that this version fuses), or the verifier "
            "misreads it; nothing can be proved about it here. Try another version of onnxruntime, "
            "or report the file"
        )
    return found


def compare_all(runtime: Runtime, q: Tensor) -> None:
    """As ``compared``, for any number of inputs."""
    for part in torch.split(q, CHECKED):
        compared(runtime, part)


def verify_pictures(
    net: Net, runtime: Runtime, given: Labelled, radii: Sequence[int], effort: Effort
) -> tuple[list[Figure], list[dict[int, Verdict]]]:
    """Certified, falsified and open shares at each radius, and the verdicts."""
    verifier = Verifier(net, runtime, effort)
    with Progress(transient=True) as progress:
        task = progress.add_task(f"verify {Path(net.source).name}", total=len(given.x))
        begun = time.perf_counter()
        verdicts = verifier.pictures(
            Pixels.of(net), given.x, given.y, radii, lambda n: progress.advance(task, n)
        )
        seconds = time.perf_counter() - begun
    name, n = f"verify.{Path(net.source).stem}", len(verdicts)
    bars = BARS if is_shipped(Path(net.source)) else {}
    right = sum(v[radii[0]].says != "wrong" for v in verdicts)
    found = [rate(f"{name}.clean", right, n, bars.get("clean"))]
    for r in radii:
        says = Counter(v[r].says for v in verdicts)
        found.append(rate(f"{name}.certified.{r}", says["certified"], n, bars.get(r)))
        found += [rate(f"{name}.{k}.{r}", says[k], n) for k in ("falsified", "unknown")]
    found.append(at_most(f"{name}.broken", verifier.broken, 0, "certificates", n))
    found.append(Figure(f"{name}.seconds", seconds / n, "s per picture", n))
    return found, verdicts


def is_shipped(file: Path) -> bool:
    """Whether this is the member of the zoo that has bars, not another file of its name."""
    return file.name == ZOO and file.resolve() == (models_dir() / ZOO).resolve()


def second_opinions(
    net: Net, runtime: Runtime, given: Labelled, verdicts: Sequence[dict[int, Verdict]],
    dense: int, limit_s: int,
) -> list[Figure]:  # fmt: skip
    """What Marabou says of each certificate; `refutable` are those that it was asked about from the
    input on, of which alone it can contradict any. Raises EdgeguardError without it."""
    says: dict[int, list[Opinion]] = {}
    pixels = Pixels.of(net)
    certified = [(i, r) for i, v in enumerate(verdicts) for r in v if v[r].says == "certified"]
    with Progress(transient=True) as progress:
        for i, r in progress.track(certified, description="second opinion"):
            low, high = pixels.box(given.x[i : i + 1], r)
            y = int(given.y[i])

            def real(q: torch.Tensor, y: int = y) -> bool:
                top = runtime.run(q[None])[0]
                return bool((top >= top[y]).sum() > 1)

            found = tightened(net, low, high, dense)
            says.setdefault(r, []).append(second_opinion(net, found, y, real, limit_s))
    name, figures = f"verify.{Path(net.source).stem}.second", []
    for r, of in sorted(says.items()):
        confirmed, refutable = (sum(o.says == CONFIRMED for o in of), sum(o.refutable for o in of))
        figures.append(rate(f"{name}.confirmed.{r}", confirmed, len(of)))
        figures.append(rate(f"{name}.refutable.{r}", refutable, len(of)))
        if refutable:  # a bar that nothing can miss would say nothing
            figures.append(at_most(f"{name}.contradicted.{r}",
                                   sum(o.says == CONTRADICTED for o in of), 0, "certificates",
                                   refutable))  # fmt: skip
    return figures


def methods(verdicts: Sequence[dict[int, Verdict]], radii: Sequence[int]) -> str:
    """Which method decided how many, a line for each radius."""
    lines = []
    for r in radii:
        by = Counter(f"{v[r].says} by {v[r].by}" for v in verdicts)
        lines.append(f"radius {r}: " + ", ".join(f"{n} {what}" for what, n in by.most_common()))
    return "\n".join(lines)


def ablate(
    net: Net, runtime: Runtime, given: Labelled, radii: Sequence[int], effort: Effort
) -> list[Figure]:
    """Each acceleration taken away: seconds, share decided, verdicts that contradict those of the
    first case, certificates that an attack broke."""
    cases = {
        "all": effort,
        "unshared": replace(effort, shared=False),
        "regions": replace(effort, regions=8),
        **{f"order.{o}": replace(effort, order=o) for o in ("width", "file", "all")},
    }
    found, first = [], None
    for case, changed in cases.items():
        if case.startswith("order") and effort.milp_s <= 0:
            continue
        seen, verdicts = verify_pictures(net, runtime, given, radii, changed)
        says = [[v[r].says for r in radii] for v in verdicts]
        first = first or says
        pairs = [(a, b) for x, y in zip(first, says, strict=True)
                 for a, b in zip(x, y, strict=True)]  # fmt: skip
        contradict = sum({a, b} == {"certified", "falsified"} for a, b in pairs)
        decided = sum(b != "unknown" for _, b in pairs)
        name = f"verify.ablate.{case}"
        values = {figure.id.rpartition(".")[2]: figure.value for figure in seen}
        found += [
            Figure(f"{name}.seconds", values["seconds"], "s per picture", len(says)),
            rate(f"{name}.decided", decided, len(pairs)),
            at_most(f"{name}.contradict", contradict, 0, "verdicts", len(pairs)),
            at_most(f"{name}.broken", values["broken"], 0, "certificates", len(says)),
        ]
    return found
