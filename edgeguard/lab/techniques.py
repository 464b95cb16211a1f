# SPDX-License-Identifier: Apache-2.0
"""``edgeguard lab evaluate techniques``: every technique at its stage of a model's life, with what
results files say of it: static, adaptive, clean cost.

A technique that was not measured shows the command that measures it, one that is not there says so.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from attrs import frozen
from rich.console import Console
from rich.table import Table

from edgeguard.errors import EdgeguardError
from edgeguard.figures import rows

REST = "not "
PLAIN = "plain"
STAGES = ("data", "training", "model", "use")
Figures = Mapping[str, Mapping[str, Any]]


@frozen
class Technique:
    """Patterns are ids of figures, as the commands write them with ``--json``; MEMBER is the member
    asked for, * any piece.

    static: the attacker does not know the defence; of an attack, its success on the bare member.
    adaptive: he knows it; of an attack, its success on the guard. clean: where nobody attacks.
    A pattern after REST is of shares that he cannot have: the rest of them is shown.
    command: measures it; without one it is not there, and `missing` says what is.
    """

    name: str
    kind: str
    stage: str
    command: str = ""
    static: tuple[str, ...] = ()
    adaptive: tuple[str, ...] = ()
    clean: tuple[str, ...] = ()
    missing: str = "not built"


def _defence(name: str, stage: str, card: str) -> Technique:
    """One that has a card."""
    at = f"defend.MEMBER.{card}"
    return Technique(name, "defence", stage, f"lab defend {card}", (f"{at}.static.*",),
                     (f"{at}.adaptive.*",), (f"{at}.clean.after", f"{at}.coverage"))  # fmt: skip


GUARD = ("guard.hazard.linf.4", "guard.hazard.linf.8")
TECHNIQUES = (
    Technique("poisoning", "attack", "data"),
    Technique("backdoor", "attack", "data"),
    Technique("training data filtering", "defence", "data"),
    Technique("regression analysis", "defence", "data"),
    _defence("network distillation", "training", "distillation"),
    _defence("adversarial training: PGD", "training", "adversarial.pgd"),
    _defence("adversarial training: TRADES", "training", "adversarial.trades"),
    _defence("adversarial training: one step", "training", "adversarial.fast"),
    _defence("adversarial training: through the quantizer", "training", "adversarial.quantized"),
    _defence("ensemble: trained apart from a member", "training", "adversarial.diverse"),
    Technique("ensemble analysis", "defence", "training"),
    Technique("PATE, differential privacy", "defence", "training"),
    Technique("watermarking", "defence", "training"),
    Technique("DNN verification", "defence", "model", "lab verify", ("verify.*.falsified.*",),
              (f"{REST}verify.*.certified.*",), ("verify.*.clean",)),
    Technique("testing: flipped bits", "defence", "model", "lab flips",
              ("*.wrong_rate_bare",), ("*.wrong_rate_guard",)),
    Technique("model pruning", "defence", "model"),
    Technique("adversarial examples", "attack", "use", "lab attack",
              ("attack.MEMBER.worst.*.success", "attack.MEMBER.cw_l2.*.success"), GUARD),
    Technique("physical stickers", "attack", "use", "lab attack --attack rp2",
              ("attack.MEMBER.rp2.*.success",), ("guard.rp2.*.hazard",)),
    Technique("black box: substitute, transfer", "attack", "use", "lab attack --attack substitute",
              ("attack.MEMBER.substitute.*.success",)),
    Technique("black box: questions", "attack", "use",
              "lab attack --attack square --attack hopskipjump",
              ("attack.MEMBER.square.*.success", "attack.MEMBER.hopskipjump.*.success")),
    Technique("model extraction", "attack", "use", missing="the substitute above, nothing more"),
    _defence("certainty threshold", "use", "certainty"),
    _defence("adversarial detection: squeezing", "use", "squeezing"),
    _defence("adversarial detection: Mahalanobis", "use", "mahalanobis"),
    _defence("adversarial detection: relative Mahalanobis", "use", "relative_mahalanobis"),
    _defence("adversarial detection: nearest neighbours", "use", "nearest"),
    _defence("adversarial detection: ViM", "use", "vim"),
    _defence("adversarial detection: boxes", "use", "boxes"),
    _defence("adversarial detection: learned", "use", "learned"),
    _defence("adversarial detection: history", "use", "history"),
    _defence("input reconstruction: fewer bits", "use", "stage.depth4"),
    _defence("input reconstruction: median", "use", "stage.median3"),
    _defence("input reconstruction: JPEG", "use", "stage.jpeg50"),
    _defence("input reconstruction: noise", "use", "stage.noise8"),
    _defence("input reconstruction: autoencoder", "use", "autoencoder"),
    Technique("redundancy: the vote", "architecture", "use", "lab attack --attack guard",
              ("vote.common_mode.*",), GUARD, ("guard.clean.coverage",)),
    Technique("detection, failsafe, isolation", "architecture", "use", "inject",
              adaptive=("inject.total.wrong_commands",)),
)  # fmt: skip
COUNTS = ("inject.total.wrong_commands",)
"""Shown figures of unit 1 that are no shares."""


def evaluate(files: Sequence[Path], member: str | None = None) -> None:
    """Print the table; member: PLAIN where none was asked for. Raises EdgeguardError for a file
    that is no results file, files that contradict each other, or a member that nothing is about."""
    figures = read(files)
    known = members(figures)
    if member is not None and member not in known:
        named = f"they name {', '.join(known)}" if known else "they name none"
        raise EdgeguardError(f"--member {member}: no figure of the given files is of it; {named}")
    console = Console(highlight=False, width=None if Console().is_terminal else 160)
    console.print(table(figures, member or PLAIN))


def members(figures: Figures) -> list[str]:
    """Whom the figures of any technique are about."""
    return sorted({
        name.split(".")[pattern.split(".").index("MEMBER")]
        for name in figures for pattern in _patterns() if "MEMBER" in pattern
        if fnmatchcase(name, pattern.replace("MEMBER", "*"))
    })  # fmt: skip


def read(files: Iterable[Path]) -> dict[str, Mapping[str, Any]]:
    """The measured figures of several results files that any technique shows, by id. Raises
    EdgeguardError for what is no results file, and where two say different things of one figure."""
    found: dict[str, Mapping[str, Any]] = {}
    source: dict[str, Path] = {}
    for file in files:
        for row in _measured(file):
            name, value = str(row["id"]), row["value"]
            if not _is_shown(name):
                continue
            if row.get("unit", "1") == "1" and name not in COUNTS and not 0 <= value <= 1:
                raise EdgeguardError(f"{file}: {name}: a share lies from 0 to 1, this is {value:g}")
            other = found.get(name, row)["value"]
            if other != value:
                raise EdgeguardError(
                    f"{source[name]} and {file}: {name} is {other:g} in one and {value:g} in the "
                    "other; give only one of them"
                )
            found[name], source[name] = row, file
    return found


def _measured(file: Path) -> Iterable[Mapping[str, Any]]:
    """The rows of a results file that have a value: null says that there was nothing to measure."""
    found = rows(file)
    for row in found:
        value = row["value"]
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (number and math.isfinite(value)):
            said = f"{row['id']}: its value is {json.dumps(value)}"
            raise EdgeguardError(f"{file}: {said}; want a finite number")
    return [row for row in found if row["value"] is not None]


def _patterns() -> Iterable[str]:
    """Of the figures that the table shows."""
    return (
        pattern.removeprefix(REST)
        for t in TECHNIQUES for pattern in (*t.static, *t.adaptive, *t.clean)
    )  # fmt: skip


def _is_shown(name: str) -> bool:
    return any(fnmatchcase(name, pattern.replace("MEMBER", "*")) for pattern in _patterns())


def table(figures: Figures, member: str) -> Table:
    """A row for each technique, in the order of the stages."""
    made = Table(title=f"Techniques by stage of a model's life; member {member}",
                 title_justify="left", show_lines=True)  # fmt: skip
    for name in ("stage", "technique", "kind", "static", "adaptive", "clean"):
        made.add_column(name)
    for technique in sorted(TECHNIQUES, key=lambda t: STAGES.index(t.stage)):
        made.add_row(technique.stage, technique.name, technique.kind,
                     *cells(technique, figures, member))  # fmt: skip
    made.caption = (
        "static: success of who does not know the defence; adaptive: of who does; of an attack: on"
        " the bare member, and on the guard; not certified: he has no more than that. clean:"
        " accuracy, and what is accepted, unattacked"
    )
    return made


def cells(technique: Technique, figures: Figures, member: str) -> tuple[str, str, str]:
    """What stands in the three columns; of one without figures, in the first, why."""
    columns = (technique.static, technique.adaptive, technique.clean)
    shown = tuple(
        "\n".join(line for pattern in patterns for line in _lines(pattern, figures, member))
        for patterns in columns
    )
    if any(shown):
        return shown[0], shown[1], shown[2]
    if not technique.command:
        return technique.missing, "", ""
    return f"not measured: edgeguard {technique.command}", "", ""


def _lines(pattern: str, figures: Figures, member: str) -> Iterable[str]:
    """'pgd 12 % (n = 40)' for each figure that fits, called by what the pattern leaves open."""
    rest = REST if pattern.startswith(REST) else ""
    head, star, tail = pattern.removeprefix(rest).replace("MEMBER", member).partition("*")
    for name, row in figures.items():
        if not fnmatchcase(name, head + star + tail):
            continue
        open_ = name.removeprefix(head).removesuffix(tail.rpartition("*")[2])
        called = open_ if star else ".".join(name.split(".")[-2:])
        n = f" (n = {row['n']:,})" if row.get("n") else ""
        shown = {**row, "value": 1 - row["value"]} if rest else row
        yield f"{rest}{called} {_said(shown)}{n}"


def _said(row: Mapping[str, Any]) -> str:
    """A share has an interval; anything else is a number in its unit."""
    if row.get("interval") and row.get("unit", "1") == "1":
        return f"{row['value']:.1%}"
    return f"{row['value']:g}" + ("" if row.get("unit", "1") == "1" else f" {row['unit']}")
