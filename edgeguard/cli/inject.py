# SPDX-License-Identifier: Apache-2.0
"""`edgeguard inject`: make faults happen and judge what reaches the actuator."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from attrs import frozen

from edgeguard.errors import EdgeguardError
from edgeguard.zoo import models_dir

if TYPE_CHECKING:
    from edgeguard.figures import Figure
    from firmware_bridge.campaign.case import Fault
    from firmware_bridge.campaign.store import Summary

PACKAGES = ("edgeguard-monitor", "cffi", "pyserial")
SAFE_MS = 50.0
NAMED = 0.99
MANY = {"twin": (10_000, 1000), "qemu": (200, 4)}
"""Injections of each fault: all, and with --quick."""

file_path = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.argument("policy", metavar="[GUARD.TOML]", type=file_path, required=False, default=None)
@click.option("--target", type=click.Choice(list(MANY)), default="twin", show_default=True,
              help="The firmware in this process, on a clock of its own; or in QEMU.")  # fmt: skip
@click.option("--faults", metavar="F12,F13", help="Only these.  [default: all]")
@click.option("--n", "many", type=click.IntRange(min=1), metavar="N",
              help="Of each fault.  [default: 10000 in the twin, 200 in QEMU]")  # fmt: skip
@click.option("--quick", is_flag=True, help="Fewer: everything within 15 minutes on 2 cores.")
@click.option("--seed", default=0, show_default=True, help="Moments and parameters of the faults.")
@click.option("--jobs", type=click.IntRange(1, 64), help="Processes.  [default: 2, or the cores]")
@click.option("--results", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
              default=Path("edgeguard-inject"), show_default=True,
              help="Every injection, a line each; what is there is not made again.")  # fmt: skip
@click.option("--json", "json_to", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the figures.")  # fmt: skip
def command(policy: Path | None, results: Path, json_to: Path | None, **given: Any) -> int:
    """Inject faults into the chain from the host to the actuator, and judge every command.

    GUARD.TOML: what the microcontroller's table is made from; the demo's guard, with steering
    added, without it. Each fault happens at random moments with random parameters, all from the
    seed. What was done is kept, so an interrupted campaign goes on where it was.

    Exit code 1 if a wrong command reached the actuator or another bar does not hold.
    """
    from edgeguard import figures as shape

    if json_to is not None:
        shape.check_writable(json_to)
    plan = _plan(policy, **given)
    try:
        rows, stopped = _perform(plan, results), False
    except _Stopped as so_far:
        rows, stopped = so_far.rows, True
    found = figures(plan.target, rows)
    _print(plan, rows, found)
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
    table: dict[str, Any]
    faults: Sequence[Fault]
    n: int
    seed: int
    jobs: int


def _plan(
    policy: Path | None, target: str, faults: str | None, many: int | None, quick: bool, seed: int,
    jobs: int | None,
) -> Plan:  # fmt: skip
    table = _table(policy)
    chosen = _fitting(_chosen(target, faults), table)
    n = many or MANY[target][quick]
    return Plan(target, table, chosen, n, seed, jobs or min(2, os.cpu_count() or 1))


class _Stopped(Exception):
    """Ctrl-C; with what there was until then."""

    def __init__(self, rows: list[Summary]) -> None:
        super().__init__()
        self.rows = rows


def _chosen(target: str, faults: str | None) -> Sequence[Fault]:
    """The faults to inject. Raises EdgeguardError."""
    from firmware_bridge.campaign import qemu
    from firmware_bridge.campaign.registry import FAULTS

    known = {fault.id: fault for fault in (FAULTS if target == "twin" else qemu.FAULTS)}
    if faults is None:
        return tuple(known.values())
    names = [name.strip().upper() for name in faults.split(",") if name.strip()]
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        raise EdgeguardError(
            f"--faults {faults}: --target {target} has no {', '.join(wrong) or 'such fault'};"
            f" known: {', '.join(known)}"
        )
    return tuple(known[name] for name in known if name in names)


def _fitting(chosen: Sequence[Fault], table: dict[str, Any]) -> Sequence[Fault]:
    """Those that this vehicle can have."""
    steers = len(table["policy"]["channels"]) > 1
    left = [fault.id for fault in chosen if fault.steers and not steers]
    if left:
        click.echo(f"{', '.join(left)} left out: this vehicle has no steering channel", err=True)
    return [fault for fault in chosen if fault.id not in left]


def _perform(plan: Plan, results: Path) -> list[Summary]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    from firmware_bridge.campaign.store import Store, key_of, summary

    store = Store(results / f"{plan.target}-seed{plan.seed}-{key_of(plan.table)}.jsonl")
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    console = Console(stderr=True)
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
            tasks = {
                fault.id: bar.add_task(
                    f"{fault.id} {fault.title[:34]:34}", total=plan.n,
                    completed=plan.n - len(store.missing(fault.id, plan.n)),
                )
                for fault in plan.faults
            }  # fmt: skip
            _go(plan, store, lambda fault, done: bar.advance(tasks[fault], done))
    except KeyboardInterrupt:
        raise _Stopped(_summaries(plan, store, summary)) from None
    finally:
        store.close()
    return _summaries(plan, store, summary)


def _summaries(plan: Plan, store: Any, summary: Any) -> list[Summary]:
    return [
        summary(fault.id, [row for i, row in store.rows.get(fault.id, {}).items() if i < plan.n])
        for fault in plan.faults
    ]


def _go(plan: Plan, store: Any, progress: Any) -> None:
    if plan.target == "twin":
        from firmware_bridge.campaign.run import campaign

        campaign(
            plan.faults, plan.n, plan.seed, plan.table, store, jobs=plan.jobs, progress=progress
        )
        return
    from firmware_bridge.campaign import qemu

    qemu.campaign(plan.faults, plan.n, plan.seed, plan.table, store, progress)


def _table(policy: Path | None) -> dict[str, Any]:
    """The microcontroller's table. The demo's car has no steering: it gets one."""
    from edgeguard import config
    from firmware_bridge.campaign.table import with_steering

    mcu = config.mcu_dict(config.load(policy or models_dir() / "guard.toml"))
    return with_steering(mcu) if policy is None else mcu


# ----------------------------------------------------------------- figures


def figures(target: str, rows: Sequence[Summary]) -> list[Figure]:
    """`mcu.FXX.*` of the twin, `mcu.qemu.FXX.*`; and over all."""
    from edgeguard.figures import Figure, at_least, at_most

    prefix = {"twin": "mcu", "qemu": "mcu.qemu"}[target]
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
                at_most(figure_id, ms, SAFE_MS, "ms", k)
                if q == 1.0
                else Figure(figure_id, ms, "ms", k)
            )
        if row.right is not None:
            asked = row.named + row.unnamed
            found.append(at_least(f"{at}.cause_right", row.right, NAMED, "1", asked))
        found.append(at_most(f"{at}.false_trips", row.false_trips, 0, "1", n))
    times = [row.safe_us[-1] / 1000 for row in rows if row.safe_us]
    total = sum(row.injections for row in rows)
    if times:
        found.append(at_most(f"{prefix}.ramp_ms_max", max(times), SAFE_MS, "ms", total))
    wrong = sum(row.wrong for row in rows)
    found.append(at_most("inject.total.wrong_commands", wrong, 0, "1", total))
    return found


def _print(plan: Plan, rows: Sequence[Summary], found: Sequence[Figure]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    table = Table(title=f"Injected into: {plan.target}", title_justify="left")
    table.add_column("fault")
    for name in ("injections", "wrong commands", "95 % bound", "to safe ms: median", "p99.9", "max",
                 "cause named", "false trips"):  # fmt: skip
        table.add_column(name, justify="right")
    titles = {fault.id: fault.title for fault in plan.faults}
    for row in rows:
        times = [row.quantile_ms(q) for q in (0.5, 0.999, 1.0)]
        style = "red" if row.wrong or row.false_trips else ""
        table.add_row(
            f"{row.fault} {titles[row.fault]}", f"{row.injections}", f"{row.wrong}",
            f"{row.bound:.1e}", *("-" if t is None else f"{t:.1f}" for t in times),
            "-" if row.right is None else f"{row.right:.2%}", f"{row.false_trips}", style=style,
        )  # fmt: skip
    table.caption = (
        "wrong commands: turns of the microcontroller with a command outside the safe set; bound:"
        " of the share of injections with one; to safe: last good frame or first evidence to the"
        " start of the ramp"
    )
    console.print(table)


def _verdict(found: Sequence[Figure]) -> int:
    from rich.console import Console

    failed = [figure for figure in found if figure.holds is False]
    for figure in failed:
        Console(stderr=True, highlight=False).print(
            f"FAILED {figure.id}: {figure.value:g} {figure.unit}, want {figure.bar}",
            style="bold red",
        )
    return 1 if failed else 0
