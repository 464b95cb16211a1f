# SPDX-License-Identifier: Apache-2.0
"""What was proved of a file of properties: rows of a results file and lines of text; and the inputs
that violate them, or that falsify a picture's label, for whoever wants to see it done by the file
itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from attrs import asdict

from edgeguard import written
from edgeguard.errors import EdgeguardError
from edgeguard.figures import Figure
from edgeguard.lab.verification.net import Net
from edgeguard.lab.verification.properties import Finding, judge, read_properties
from edgeguard.lab.verification.report import Labelled, compare_all
from edgeguard.lab.verification.runtime import Runtime
from edgeguard.lab.verification.verify import Verdict

Row = dict[str, Any]


def verify_properties(
    net: Net, runtime: Runtime, path: Path, keep: Path | None = None
) -> tuple[list[Row], str]:
    """A row and a line for each property of a file. keep: a file for the inputs that violate one,
    `names` [V] beside them. Raises EdgeguardError where it cannot be written."""
    rows, lines, broken = [], [], []
    for wanted in read_properties(path, net):
        compare_all(runtime, torch.cat([wanted.low, wanted.high]))
        finding = judge(net, runtime, wanted)
        rows.append(_row(finding))
        lines.append(_line(finding))
        if finding.says == "violated":
            kept = "keep it with --json FILE"
            if keep is not None:
                kept = f"row {len(broken)} of {keep}"
                rows[-1]["input"] = {"file": keep.name, "row": len(broken)}
            lines[-1] += f"; by an input of box {finding.box}: {kept}"
            broken.append(finding)
    if keep is not None:
        names = np.array([finding.name for finding in broken])
        _keep(keep, runtime, [finding.input for finding in broken], names=names)
    return rows, "\n".join(lines)


def _row(finding: Finding) -> Row:
    """Of a range the widest, and the ends of all of them."""
    name = f"verify.property.{finding.name}"
    if finding.says == "range":
        widest = max(high - low for low, high in finding.ranges)
        more = {"says": "range", "ranges": finding.ranges}
        return asdict(Figure(name, widest, "score", finding.n)) | more
    figure = Figure(name, finding.proved / finding.n, "1", finding.n, None, "every box proved",
                    finding.says == "holds")  # fmt: skip
    return asdict(figure) | {"says": finding.says, "box": finding.box}


def _line(finding: Finding) -> str:
    if finding.says == "range":
        return f"range     {finding.name}: " + " ".join(
            f"{k}:[{low:.3g}, {high:.3g}]" for k, (low, high) in enumerate(finding.ranges)
        )
    return f"{finding.says:<9} {finding.name}: {finding.proved} of {finding.n} boxes proved"


def keep_falsified(
    file: Path, runtime: Runtime, given: Labelled, verdicts: Sequence[Mapping[int, Verdict]]
) -> str:
    """Of each picture the falsified one within the smallest radius that has one: `clean` [V, H, W,
    C], `y` and `radius` [V], and as of a property `x` and `scores`. A line that says so; empty
    where nothing is falsified. Raises EdgeguardError where it cannot be written."""
    found = []
    for i, of in enumerate(verdicts):
        radii = [r for r in sorted(of) if of[r].says == "falsified"]
        if radii:
            found.append((i, radii[0], of[radii[0]].input))
    rows = [i for i, _, _ in found]
    _keep(file, runtime, [q for _, _, q in found], clean=given.x[rows], y=given.y[rows].numpy(),
          radius=np.array([r for _, r, _ in found]))  # fmt: skip
    if not found:
        return ""
    return f"{len(found)} pictures are falsified, each by an input in {file}"


def _keep(
    file: Path, runtime: Runtime, inputs: Sequence[torch.Tensor | None], **columns: Any
) -> None:
    """x [V, *shape], as the file takes it; scores [V, K], what it answers, as reals. Where there
    are none, those of an earlier run of this name are no longer true, and go."""
    try:
        if not inputs:
            file.unlink(missing_ok=True)
            return
        q = torch.stack([one for one in inputs if one is not None])
        grid = runtime.net.grid(runtime.net.output)
        scores = ((runtime.run(q) - grid.zero) * grid.scale).numpy()
        with written.whole(file) as part:
            np.savez(part, x=runtime.fed(q), scores=scores, **columns)
    except OSError as error:
        raise EdgeguardError(f"{file}: {error.strerror}") from None
