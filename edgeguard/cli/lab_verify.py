# SPDX-License-Identifier: Apache-2.0
"""`edgeguard lab verify`: what is proved of an int8 file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from attrs import asdict
from click.core import ParameterSource

from edgeguard.cli.numbers import MOST_S, Finite
from edgeguard.cli.progress import begins
from edgeguard.errors import EdgeguardError
from edgeguard.figures import Figure
from edgeguard.written import is_ordinary
from edgeguard.zoo import models_dir

PACKAGES = ("numpy", "torch", "onnx", "onnxruntime", "scipy")
FILE = click.Path(path_type=Path, dir_okay=False)
OF_PICTURES = {
    "pictures": "--pictures", "ablate": "--ablate", "radii": "--radius", "many": "--n",
    "quick": "--quick", "dense": "--dense", "milp_s": "--milp", "order": "--order",
    "regions": "--regions", "data_dir": "--data-dir",
}  # fmt: skip
"""Options that change nothing of properties; `--second-opinion` says so itself."""


@click.command(epilog="Needs the extra: pip install 'edgeguard-monitor[lab]'.")
@click.argument("model", type=FILE, metavar="[MODEL.onnx]", required=False)
@click.option("--pictures", type=FILE, metavar="FILE.npz",
              help="x uint8 [N, H, W, C] and y.  [default: the test half of GTSRB]")  # fmt: skip
@click.option("--properties", type=FILE, metavar="FILE.toml", help="Prove these instead.")
@click.option("--radius", "radii", type=click.IntRange(0, 255), multiple=True, default=(1, 2),
              show_default=True, help="Grey levels; may be given more than once.")  # fmt: skip
@click.option("--n", "many", type=click.IntRange(min=1), default=1000, show_default=True,
              help="Pictures, a seeded choice.")  # fmt: skip
@click.option("--quick", is_flag=True, help="50 pictures.")
@click.option("--dense", type=click.IntRange(min=0), default=512, show_default=True,
              help="For leftovers, tighten layers of at most so many integers.")  # fmt: skip
@click.option("--milp", "milp_s", type=Finite(min=0.0, max=MOST_S), default=0.0,
              show_default=True,
              help="Seconds of mixed-integer programs for each leftover.")  # fmt: skip
@click.option("--order", type=click.Choice(["influence", "width", "file", "all"]),
              default="influence", show_default=True,
              help="Which neurons the programs make whole first.")  # fmt: skip
@click.option("--regions", type=click.IntRange(0, 255), metavar="GREY",
              help="Try pictures that differ by at most so much as one region first.")  # fmt: skip
@click.option("--second-opinion", "second_s", type=click.IntRange(min=1), metavar="S",
              help="Ask Marabou about each certificate, S seconds for each rival.")  # fmt: skip
@click.option("--ablate", is_flag=True, help="Measure what each acceleration is worth.")
@click.option(
    "--data-dir", help="Folder that holds gtsrb/; default: $EDGEGUARD_DATA, then ../shared/data."
)
@click.option("--json", "json_to", type=FILE, metavar="FILE", help="Write the figures.")
def command(
    model: Path | None, properties: Path | None, json_to: Path | None, **given: Any
) -> int:  # fmt: skip
    """Prove what an int8 ONNX classifier answers, the rounding of the file that runs included:
    the label over all 8-bit pictures around given ones, or properties of a TOML file.

    Without MODEL the member of the shipped zoo that was trained for it. Exit code 1 when a bar does
    not hold, an attack broke a certificate, or a property is not proved.
    """
    from edgeguard import figures

    keep = None
    if json_to is not None:
        figures.check_writable(json_to, model, properties, given["pictures"])
        if is_ordinary(json_to) and not given["ablate"]:
            what = "falsified" if properties is None else "violated"
            keep = json_to.with_suffix(f".{what}.npz")
            figures.check_writable(keep, model, properties, given["pictures"])
    _check(properties, **given)
    file = model or models_dir() / "certified.onnx"
    begins(f"reading {file}, and comparing it with ONNX Runtime")
    import torch

    from edgeguard.lab.verification import proved, report, second

    if given["second_s"] is not None:
        second.solver()
    torch.set_num_threads(1)
    net, runtime, found = report.open_checked(file)
    rows = [asdict(figure) for figure in found]
    if properties is None:
        more, text = _pictures(net, runtime, keep, **given)
        rows += [asdict(figure) for figure in more]
    else:
        judged, text = proved.verify_properties(net, runtime, properties, keep)
        rows += judged
    click.echo(f"{text}\n{_table(rows)}")
    if json_to is not None:
        figures.write(json_to, rows, report.SEED, PACKAGES)
    missed = [row["id"] for row in rows if row["holds"] is False]
    if missed:
        click.echo("bars that do not hold: " + ", ".join(missed))
    return 1 if missed else 0


def _check(properties: Path | None, **given: Any) -> None:
    """Raises EdgeguardError for options that would change nothing."""
    if given["second_s"] is not None and (properties is not None or given["ablate"]):
        other = "--ablate" if properties is None else "--properties"
        raise EdgeguardError(
            f"--second-opinion: is about certificates of pictures; leave {other} out"
        )
    if properties is not None:
        for name, option in OF_PICTURES.items():
            if _is_given(name):
                raise EdgeguardError(
                    f"{option}: is about labelled pictures; --properties names boxes of "
                    "its own, leave one out"
                )
    if _is_given("order") and not given["milp_s"]:
        raise EdgeguardError("--order: is about programs, and there are none without --milp")
    if given["pictures"] is not None and _is_given("data_dir"):
        raise EdgeguardError("--data-dir: is where GTSRB lies; leave it or --pictures out")


def _is_given(name: str) -> bool:
    source = click.get_current_context().get_parameter_source(name)
    return source is ParameterSource.COMMANDLINE


def _pictures(net: Any, runtime: Any, keep: Path | None, **given: Any) -> tuple[list[Figure], str]:
    """Figures about pictures, and a text about how they were decided; keep: a file for those that
    are falsified."""
    from edgeguard.lab.verification import proved, report
    from edgeguard.lab.verification.pixels import Pixels
    from edgeguard.lab.verification.verify import Effort

    pixels = Pixels.of(net)
    labelled = _labelled(pixels, **given)
    report.compare_all(runtime, pixels.integers(labelled.x))
    effort = Effort(**{key: given[key] for key in ("dense", "milp_s", "order", "regions")})
    radii = sorted(set(given["radii"]))
    if given["ablate"]:
        return report.ablate(net, runtime, labelled, radii, effort), ""
    found, verdicts = report.verify_pictures(net, runtime, labelled, radii, effort)
    text = report.methods(verdicts, radii)
    if keep is not None:
        kept = proved.keep_falsified(keep, runtime, labelled, verdicts)
        text += f"\n{kept}" if kept else ""
    if given["second_s"] is not None:
        asked = report.second_opinions(
            net, runtime, labelled, verdicts, effort.dense, given["second_s"]
        )
        text += "" if asked else "\nsecond opinion: nothing is certified, so nothing was asked"
        found += asked
    return found, text


def _labelled(pixels: Any, **given: Any) -> Any:
    """The pictures that were asked for. Raises EdgeguardError."""
    from edgeguard.lab.verification.report import read_pictures

    many = min(given["many"], 50) if given["quick"] else given["many"]
    if given["pictures"] is not None:
        return read_pictures(given["pictures"], many, pixels)
    path = _test_half(given["data_dir"])
    try:
        return read_pictures(path, many, pixels)
    except EdgeguardError as error:
        raise EdgeguardError(
            f"{error}; these are GTSRB's, because --pictures was left out"
        ) from None


def _test_half(data_dir: str | None) -> Path:
    from edgeguard.lab.zoo.data import data_root

    try:
        return data_root(data_dir) / "gtsrb" / "test_public_32.npz"
    except FileNotFoundError as error:
        raise EdgeguardError(f"{error}, or your own pictures with --pictures") from None


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [f"{'figure':<44} {'value':>9} {'n':>6}  {'95 % interval':<17} {'bar':<18} holds"]
    for f in rows:
        interval = "{:.4f} - {:.4f}".format(*f["interval"]) if f["interval"] else ""
        holds = {True: "yes", False: "NO", None: ""}[f["holds"]]
        lines.append(
            f"{f['id']:<44} {f['value']:9.4g} {f['n'] or '':>6}  {interval:<17} "
            f"{f['bar'] or '':<18} {holds}"
        )
    return "\n".join(lines)
