# SPDX-License-Identifier: Apache-2.0
"""`edgeguard inject`: make faults happen and judge what reaches the actuator."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from edgeguard.cli.campaigns import TARGETS, Campaign, Fault, campaign_of, chosen
from edgeguard.errors import EdgeguardError

if TYPE_CHECKING:
    from edgeguard.figures import Figure
    from firmware_bridge.campaign.store import Store, Summary

PACKAGES = ("edgeguard-monitor", "numpy", "cffi", "pyserial")
STOOD = 0.1  # of the injections of a fault, most in which the processor hangs until its watchdog

file_path = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("policy", metavar="[GUARD.TOML]", type=file_path, required=False, default=None)
@click.option("--target", type=click.Choice(list(TARGETS)), default="host", show_default=True,
              help="The guard on this host; the microcontroller's firmware in this process, on a "
              "clock of its own; or its image in QEMU.")  # fmt: skip
@click.option("--faults", metavar="F12,F13", help="Only these.  [default: all]")
@click.option("--n", "many", type=click.IntRange(min=1), metavar="N",
              help="Of each fault; of those that use files or processes as many as docs/inject.md "
              "says at most.  [default: 10000; 200 in QEMU]")  # fmt: skip
@click.option("--quick", is_flag=True, help="Fewer: everything within 15 minutes on 2 cores.")
@click.option("--pictures", type=click.Path(path_type=Path, exists=True), metavar="FOLDER",
              help="What the cameras see where the guard's own models run; without it such faults "
              "are left out. The demo's guard has its own.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Moments and parameters of the faults.")
@click.option("--jobs", type=click.IntRange(1, 64), help="Processes.  [default: 2, or the cores]")
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              default=Path("edgeguard-inject"), show_default=True,
              help="Every injection, a line each; what is there is not made again.")  # fmt: skip
@click.option("--json", "json_to", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the figures.")  # fmt: skip
def command(policy: Path | None, results: Path, json_to: Path | None, **given: Any) -> int:
    """Inject faults into a guard, or into the chain from it to the actuator; judge every command.

    GUARD.TOML: the guard, or what the microcontroller's table is made from; without it the demo's.
    Each fault happens at random moments with random parameters, all from the
    seed. What was done is kept, so an interrupted campaign goes on where it was.

    Exit code 1 if a wrong command reached the actuator or another bar does not hold.
    """
    from edgeguard import figures as shape
    from edgeguard.config.load import files_named

    if json_to is not None:
        shape.check_writable(json_to, *files_named(policy), given["pictures"])
    plan = _plan(policy, **given)
    try:
        (rows, beside), stopped = _perform(plan, results), False
    except _Stopped as so_far:
        (rows, beside), stopped = so_far.rows, True
    found = figures(plan.campaign, rows, beside)
    _print(plan, rows, beside)
    if stopped:
        click.echo("interrupted; the same command goes on from here", err=True)
        return 130
    if json_to is not None:
        shape.write(json_to, found, plan.seed, PACKAGES)
    return _verdict(found)


@frozen
class Plan:
    """What is to be done: `n` injections of each fault."""

    target: str
    campaign: Campaign
    faults: Sequence[Fault]
    counts: Mapping[str, int]
    seed: int
    jobs: int


def _plan(
    policy: Path | None, target: str, pictures: Path | None, faults: str | None, many: int | None,
    quick: bool, seed: int, jobs: int | None,
) -> Plan:  # fmt: skip
    campaign = campaign_of(target, policy, pictures)
    found = chosen(campaign, faults)
    counts = campaign.counts(found, many, quick)
    return Plan(target, campaign, found, counts, seed, jobs or min(2, os.cpu_count() or 1))


Results = tuple[list["Summary"], list["Beside"]]


class _Stopped(Exception):
    """Ctrl-C; with what there was until then."""

    def __init__(self, rows: Results) -> None:
        super().__init__()
        self.rows = rows


def _perform(plan: Plan, results: Path) -> Results:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from firmware_bridge.campaign.store import Store

    store = Store(results / f"{plan.target}-seed{plan.seed}-{plan.campaign.key}.jsonl")
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    console = Console(stderr=True)
    counts = plan.counts
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            tasks = {
                fault.id: bar.add_task(
                    f"{fault.id} {fault.title[:34]:34}", total=counts[fault.id],
                    completed=counts[fault.id] - len(store.missing(fault.id, counts[fault.id])),
                )
                for fault in plan.faults
            }  # fmt: skip
            plan.campaign.go(
                counts, plan.seed, store, plan.jobs,
                lambda fault, done: bar.advance(tasks[fault], done),
            )  # fmt: skip
        plan.campaign.unchanged(store)
    except BrokenProcessPool:
        raise EdgeguardError(
            f"{store.path}: a process of the campaign was killed (no memory left?); the same"
            " command goes on from here"
        ) from None
    except KeyboardInterrupt:
        raise _Stopped(_summaries(plan, store)) from None
    finally:
        store.close()
    return _summaries(plan, store)


def _summaries(plan: Plan, store: Store) -> Results:
    from firmware_bridge.campaign.store import summary

    made = {
        fault.id: [r for i, r in store.rows.get(fault.id, {}).items() if i < plan.counts[fault.id]]
        for fault in plan.faults
    }
    rows = [summary(fault, found) for fault, found in made.items()]
    return rows, [Beside.of(found) for found in made.values()]


# ----------------------------------------------------------------- figures


@frozen
class Beside:
    """What a target measures beside the summary of a fault; each empty where it does not."""

    over_ms: tuple[float, ...] = ()
    """Time to the safe command less the bound of that injection: negative when it was in time."""
    late_ms: tuple[float, ...] = ()
    """By how much a tick woke up late at most, of those that keep to the clock."""
    outside_ms: tuple[float, ...] = ()
    """Under the rules, from the fault until the members commanded again."""
    back_ms: tuple[float, ...] = ()
    """From the end of the fault until the members commanded again."""
    held_ms: tuple[float, ...] = ()
    """Longest frame and decision in one tick, of those that keep to the clock."""
    disturbed: int | None = None
    """Attempts that the machine held up, which were made again; None: the clock is injected."""

    @classmethod
    def of(cls, rows: Iterable[Mapping[str, Any]]) -> Beside:
        """Of the stored rows of one fault."""
        found = list(rows)
        timed = [r for r in found if r.get("t") is not None and r.get("b") is not None]
        back = [r for r in found if r.get("r") is not None]
        return cls(
            tuple(sorted((r["t"] - r["b"]) / 1000 for r in timed)),
            tuple(sorted(r["j"] / 1000 for r in found if "j" in r)),
            tuple(sorted(float(r["o"]) for r in back if r.get("o") is not None)),
            tuple(sorted(float(r["r"]) for r in back)),
            tuple(sorted(r["d"] / 1000 for r in found if "d" in r)),
            sum(r.get("g", 0) for r in found) if any("g" in r for r in found) else None,
        )

    def figures(self, at: str) -> Iterator[Figure]:
        """`.disturbed`, `.over_bound_ms_max` and, at the median and at most, `.woke_late_ms`,
        `.held_ms`, `.outside_ms`, `.recovered_ms`."""
        from edgeguard.figures import Figure, at_most

        if self.disturbed is not None:
            yield Figure(f"{at}.disturbed", self.disturbed)
        if self.over_ms:
            yield at_most(f"{at}.over_bound_ms_max", self.over_ms[-1], 0, "ms", len(self.over_ms))
        measured = {"woke_late": self.late_ms, "held": self.held_ms, "outside": self.outside_ms,
                    "recovered": self.back_ms}  # fmt: skip
        for name, values in measured.items():
            if values:
                n = len(values)
                yield Figure(f"{at}.{name}_ms_median", values[n // 2], "ms", n)
                yield Figure(f"{at}.{name}_ms_max", values[-1], "ms", n)


def figures(
    campaign: Campaign, rows: Sequence[Summary], beside: Sequence[Beside] = ()
) -> list[Figure]:
    """`inject.FXX.*` of the host, `mcu.FXX.*` of the twin, `mcu.qemu.FXX.*`; the worst of all."""
    from edgeguard.figures import Figure, at_least, at_most

    prefix, safe_ms = campaign.prefix, campaign.safe_ms
    found: list[Figure] = []
    for row in rows:
        at, n = f"{prefix}.{row.fault}", row.injections
        found.append(Figure(f"{at}.injections", n))
        found.append(
            Figure(
                f"{at}.wrong_commands", row.wrong, "1", n, (0.0, row.bound), "<= 0", row.wrong == 0
            )
        )
        for name, q in (("median", 0.5), ("p999", 0.999), ("max", 1.0)):
            ms = row.quantile_ms(q)
            if ms is None:
                continue
            figure_id, k = f"{at}.time_to_safe_ms_{name}", len(row.safe_us)
            found.append(
                at_most(figure_id, ms, row.bound_ms if safe_ms is None else safe_ms, "ms", k)
                if q == 1.0
                else Figure(figure_id, ms, "ms", k)
            )
        if row.right is not None:
            asked = row.named + row.unnamed
            found.append(at_least(f"{at}.cause_right", row.right, campaign.named, "1", asked))
        if row.stood:
            found.append(at_most(f"{at}.stood", row.stood / n, STOOD, "1", n))
        found.append(at_most(f"{at}.false_trips", row.false_trips, 0, "1", n))
    for row, more in zip(rows, beside, strict=False):
        found += more.figures(f"{prefix}.{row.fault}")
    times = [row.safe_us[-1] / 1000 for row in rows if row.safe_us]
    total = sum(row.injections for row in rows)
    if times and safe_ms is not None:
        found.append(at_most(f"{prefix}.ramp_ms_max", max(times), safe_ms, "ms", total))
    over = [more.over_ms[-1] for more in beside if more.over_ms]
    if over:
        n = sum(len(more.over_ms) for more in beside)
        found.append(at_most("inject.total.over_bound_ms_max", max(over), 0, "ms", n))
    right = [row.right for row in rows if row.right is not None]
    if right:
        n = sum(row.named + row.unnamed for row in rows)
        found.append(at_least("inject.total.cause_right_least", min(right), campaign.named, "1", n))
    wrong = sum(row.wrong for row in rows)
    found.append(at_most("inject.total.wrong_commands", wrong, 0, "1", total))
    return found


def _print(plan: Plan, rows: Sequence[Summary], beside: Sequence[Beside]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 180)
    table = Table(title=f"Injected into: {plan.target}", title_justify="left")
    table.add_column("fault")
    for name in ("injections", "wrong commands", "95 % bound", "to safe ms: median", "p99.9", "max",
                 "over bound", "woke late", "outside ms", "back ms", "cause named",
                 "false trips", "disturbed"):  # fmt: skip
        table.add_column(name, justify="right")
    titles = {fault.id: fault.title for fault in plan.faults}
    for row, more in zip(rows, beside, strict=True):
        times = [row.quantile_ms(q) for q in (0.5, 0.999, 1.0)]
        style = "red" if row.wrong or row.false_trips else ""
        table.add_row(
            f"{row.fault} {titles[row.fault]}", f"{row.injections}", f"{row.wrong}",
            f"{row.bound:.1e}", *("-" if t is None else f"{t:.1f}" for t in times),
            f"{more.over_ms[-1]:.1f}" if more.over_ms else "-",
            f"{more.late_ms[-1]:.1f}" if more.late_ms else "-",
            _middle_and_most(more.outside_ms), _middle_and_most(more.back_ms),
            "-" if row.right is None else f"{row.right:.2%}", f"{row.false_trips}",
            "-" if more.disturbed is None else f"{more.disturbed}", style=style,
        )  # fmt: skip
    table.caption = (
        "wrong commands: ticks with a command outside the safe set, stops that come late; bound: of"
        " the share of injections with one; to safe: first evidence, or last good frame, to the"
        " command of the rules, or the stop; over bound: at most, negative is in time; woke late:"
        " the machine's own, at most; outside: under the rules, back: after the fault, until the"
        " members command again, median / max; disturbed: attempts that the machine held up, made"
        " again"
    )
    console.print(table)


def _middle_and_most(ms: Sequence[float]) -> str:
    return f"{ms[len(ms) // 2]:.0f} / {ms[-1]:.0f}" if ms else "-"


def _verdict(found: Sequence[Figure]) -> int:
    from rich.console import Console

    failed = [figure for figure in found if figure.holds is False]
    for figure in failed:
        Console(stderr=True, highlight=False).print(
            f"FAILED {figure.id}: {figure.value:g} {figure.unit}, want {figure.bar}",
            style="bold red",
        )
    return 1 if failed else 0
