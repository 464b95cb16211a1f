# SPDX-License-Identifier: Apache-2.0
"""F09 as a campaign: many flips of every member, resumable, and the rates with their intervals."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from scipy.stats import beta

from edgeguard.config import load, load_cards
from edgeguard.config.load import files_read
from edgeguard.errors import EdgeguardError
from edgeguard.figures import Figure, at_most
from edgeguard.lab.testing import flips
from edgeguard.provenance import key_of
from edgeguard.zoo import models_dir
from firmware_bridge.campaign.run import campaign
from firmware_bridge.campaign.store import Store

FLIPS = 16_600
"""Of each model: 95 % of the time the rate is then known to 1 % of itself where it is one half."""
RATIO = 0.2
Row = Mapping[str, Any]


def run(
    policy: Path, n: int, seed: int, jobs: int, results: Path, only: Sequence[str] = ()
) -> list[Figure]:
    """Make the flips that are missing, of these members (none named: of all); print the table of
    all that have any. Raises EdgeguardError."""
    config = load(policy)
    cards = load_cards(config)
    if unknown := sorted(set(only) - set(cards)):
        raise EdgeguardError(f"{policy}: no member {', '.join(unknown)}; has {', '.join(cards)}")
    held = flips.bench(policy)  # what is wrong with the policy is said before anything flips
    names = [f"F09.{name}" for name in cards]
    files = {*files_read(config), models_dir() / "stream.npz"}
    store = Store(results / f"flips-seed{seed}-{key_of(sorted(files))}.jsonl")
    make = partial(flips.chunk, seed=seed, policy=policy)
    try:
        _go(store, make, {f"F09.{name}": n for name in only or cards}, jobs)
    finally:
        store.close()
    rows = {name: [r for i, r in store.rows.get(name, {}).items() if i < n] for name in names}
    names = [name for name in names if rows[name]]
    _print({name: rows[name] for name in names})
    return [
        *clean(held), *(figure for name in names for figure in figures(name, rows[name]))
    ]  # fmt: skip


def _go(store: Store, make: Callable[..., Any], counts: dict[str, int], jobs: int) -> None:
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        tasks = {
            name: bar.add_task(name, total=n, completed=n - len(store.missing(name, n)))
            for name, n in counts.items()
        }
        campaign(counts, store, make, jobs=jobs, progress=lambda f, k: bar.advance(tasks[f], k))


def clean(held: flips.Bench) -> list[Figure]:
    """`inject.F09.*clean_wrong`: pictures with a wrong command before any flip, where none counts:
    of the guard, and of each member alone."""
    return [
        Figure(f"inject.F09{name and '.' + name}.clean_wrong", int(hit.sum()), "pictures", len(hit))
        for name, hit in flips.clean_wrong(held).items()
    ]


def figures(name: str, rows: Sequence[Row]) -> list[Figure]:
    """`inject.F09.MEMBER.*`: rates with 95 % intervals (Clopper-Pearson), and their ratio.

    The ratio's bound is the upper end with the guard over the lower end without it, each at
    97.5 %: together at least 95 %. Of fewer than `FLIPS` it is not there where nothing went wrong
    through the guard and too little without it to say so of any guard; of as many that is a bar
    which does not hold.
    """
    n = len(rows)
    bare, guarded = sum(row["n"] for row in rows), sum(row["w"] for row in rows)
    seen = Counter(row["s"] for row in rows)
    low, high = interval(bare, n)
    guard_low, guard_high = interval(guarded, n)
    at = f"inject.{name}"
    return [
        Figure(f"{at}.injections", n),
        Figure(f"{at}.wrong_rate_bare", bare / n, "1", n, (low, high)),
        Figure(f"{at}.wrong_rate_guard", guarded / n, "1", n, (guard_low, guard_high)),
        *_ratio(at, bare, guarded, n),
        Figure(f"{at}.caught_by_self_test", seen["golden"] / n, "1", n),
        Figure(f"{at}.refused_by_runtime", (seen["refused"] + seen["crashed"]) / n, "1", n),
    ]


def _ratio(at: str, bare: int, guarded: int, n: int) -> list[Figure]:
    least = interval(max(1, bare), n)[0]  # there is no ratio to none
    bound = interval(guarded, n)[1] / least
    if n < FLIPS and guarded == 0 and bound > RATIO:
        return []
    return [at_most(f"{at}.ratio_upper", bound, RATIO, "1", n)]


def interval(k: int, n: int) -> tuple[float, float]:
    """Clopper-Pearson, 95 %."""
    low = float(beta.ppf(0.025, k, n - k + 1)) if k else 0.0
    high = float(beta.ppf(0.975, k + 1, n - k)) if k < n else 1.0
    return low, high


def _print(rows: Mapping[str, Sequence[Row]]) -> None:
    table = Table(title="F09: one bit of a model flips", title_justify="left")
    for name in ("model", "flips", "wrong alone", "wrong through the guard", "ratio at most",
                 "self-test catches", "runtime refuses"):  # fmt: skip
        table.add_column(name, justify="left" if name == "model" else "right")
    for name, made in rows.items():
        found = {f.id.rpartition(".")[2]: f for f in figures(name, made)}
        ratio = found.get("ratio_upper")
        table.add_row(
            name.removeprefix("F09."), f"{len(made):,}",
            _rate(found["wrong_rate_bare"]), _rate(found["wrong_rate_guard"]),
            f"{ratio.value:.2g}" if ratio else "too few flips",
            f"{found['caught_by_self_test'].value:.2%}", f"{found['refused_by_runtime'].value:.2%}",
        )  # fmt: skip
    console = Console(highlight=False, width=None if Console().is_terminal else 130)
    console.print(table)


def _rate(figure: Figure) -> str:
    assert figure.interval is not None
    low, high = figure.interval
    return f"{figure.value:.3%} [{low:.3%}, {high:.3%}]"
