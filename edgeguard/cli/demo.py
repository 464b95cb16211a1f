# SPDX-License-Identifier: Apache-2.0
"""`edgeguard demo`: drive past real traffic signs while things go wrong."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Lock
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from edgeguard import aside
from edgeguard import figures as shape
from edgeguard.cli.live import Screen
from edgeguard.config import GuardConfig, load
from edgeguard.errors import EdgeguardError
from edgeguard.figures import Figure
from edgeguard.guard import Guard
from edgeguard.streams import report
from edgeguard.streams import stream as streams
from edgeguard.streams.drive import drive, in_process
from edgeguard.streams.faults import Event
from edgeguard.streams.programme import programme
from edgeguard.streams.report import Results
from edgeguard.streams.run import Run
from edgeguard.written import together
from edgeguard.zoo import models_dir

PACKAGES = ("edgeguard-monitor", "numpy", "onnxruntime", "ai-edge-litert", "tflite-runtime")


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("edgeguard-demo"),
              show_default=True, metavar="DIR", help="Where the page goes.")  # fmt: skip
@click.option("--json", "json_to", type=click.Path(path_type=Path), metavar="FILE",
              help="Write the figures.")  # fmt: skip
@click.option("--seed", default=0, show_default=True, help="Moves the signs, redraws the street.")
@click.option("--policy", type=click.Path(path_type=Path), metavar="GUARD.TOML",
              help="Another policy for the same models; needs --allow-unfrozen.")  # fmt: skip
@click.option("--allow-unfrozen", is_flag=True,
              help="Run although the policy is not the one that was fixed before.")  # fmt: skip
def command(
    out: Path, json_to: Path | None, seed: int, policy: Path | None, allow_unfrozen: bool
) -> int:
    """Drive past 40 real traffic signs while things go wrong.

    A simulated car drives past whole tracks of the German Traffic Sign Recognition Benchmark that
    no model was trained on. Three int8 models read the signs, the guard lets the speed target
    follow them only while there is evidence, and nine things go wrong: attacked signs, a frozen
    camera, a blackout, a killed process, NaN scores, a late member. Beside it drives a bare model.

    The signs are pasted into a drawn street and given with their box: finding signs in a picture
    is out of scope. The attacks are static: made offline against one model.

    Exit code 1 if a wrong command got through or another bar does not hold.
    """
    started = time.monotonic()
    _need_runtimes()
    source = policy or models_dir() / "guard.toml"
    stream = streams.load(models_dir() / "stream.npz", seed)
    config = load(source)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 150)
    _frozen(console, stream.frozen, source, allow_unfrozen)
    with aside.quiet():  # it is shown as events
        results = perform(console, stream, config)
    found = report.figures(results)
    page = _page(out, results, found)
    if json_to:
        shape.write(json_to, found, seed, PACKAGES)
    return _summary(console, results, found, page, time.monotonic() - started)


def perform(console: Console, stream: streams.SignStream, config: GuardConfig) -> Results:
    """Drive four times: guard and bare model, without events and with them.

    The bare model drives beside the guard; what is shown is the guard.
    """
    from edgeguard.streams.bare import Bare

    entries = programme(stream)
    events = tuple(entry.event for entry in entries)
    alone = in_process(config)

    def bare() -> Run:
        return _go(Bare(config), stream, events, _go(Bare(alone), stream, (), None))

    with Screen(console, stream, entries) as screen, ThreadPoolExecutor(1) as beside:
        compared = beside.submit(bare)
        screen.begin("the guard, nothing goes wrong")
        clean = _go(Guard(alone), stream, (), None, screen)
        screen.begin("the guard, things go wrong")
        guard = _go(Guard(config), stream, events, clean, screen)
        screen.begin("the bare model")
        return Results(entries, clean, guard, compared.result())


def _go(
    subject: Any,
    stream: streams.SignStream,
    events: Sequence[Event],
    twin: Run | None,
    screen: Screen | None = None,
) -> Run:
    watch = screen.watch if screen else None
    with closing(subject):
        with quiet_stderr():  # LiteRT greets on it when a model is opened
            subject.arm()
        return drive(subject, stream, *events, twin=twin, watch=watch)


_stderr = Lock()  # the process has one, and the bare model is armed in a thread of its own


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """Nothing that native code writes to stderr is seen; errors are raised, not written."""
    with _stderr:
        sys.stderr.flush()
        kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            os.close(sink)


def _need_runtimes() -> None:
    missing = [
        extra
        for extra, packages in {
            "onnx": ("onnxruntime",),
            "litert": ("ai_edge_litert", "tflite_runtime"),
        }.items()
        if not any(importlib.util.find_spec(package) for package in packages)
    ]
    if missing:
        raise EdgeguardError(
            f"the demo runs real models and needs the extras {' and '.join(missing)}:"
            f" pip install 'edgeguard-monitor[{','.join(missing)}]'"
        )


def _frozen(console: Console, stated: dict[str, str], source: Path, allowed: bool) -> None:
    """The policy has to be the one that was fixed before the stream was built."""
    found = streams.digests(source)
    if found == stated:
        names = ", ".join(f"{name} {digest[:12]}" for name, digest in stated.items())
        console.print(f"Policy as fixed before the stream was built: {names}")
        return
    wrong = [name for name in {**stated, **found} if stated.get(name) != found.get(name)]
    what = f"{source.parent}: {', '.join(wrong)}: not as fixed before the stream was built"
    if not allowed:
        raise EdgeguardError(f"{what}; restore it, or give --allow-unfrozen to develop")
    console.print(f"[bold yellow]{what}: these figures are no evidence[/]", soft_wrap=True)


def _page(out: Path, results: Results, found: list[Figure]) -> Path:
    from edgeguard.streams.page import render
    from edgeguard.streams.timeline import picture

    path = out / "index.html"
    try:
        out.mkdir(parents=True, exist_ok=True)
        pictured, page = picture(results).encode(), render(results, found).encode()
        together({out / "timeline.svg": pictured, path: page})
    except OSError as error:
        raise EdgeguardError(f"{path}: {error.strerror}") from None
    return path


def _summary(
    console: Console, results: Results, found: list[Figure], page: Path, seconds: float
) -> int:
    """Print table, totals and verdict; returns the exit code."""
    console.print(_table(results))
    for figure in found:
        if figure.bar and figure.id.split(".")[0] in ("demo", "guard") and figure.id.count(".") < 3:
            console.print(_total(figure))
    failed = report.failures(found)
    console.print(f"\nPage: {page}   ({seconds:.0f} s)")
    for figure in failed:
        text = f"FAILED {figure.id}: {figure.value:g} {figure.unit}, want {figure.bar}"
        Console(stderr=True, highlight=False).print(Text(text, style="bold red"))
    if not failed:
        console.print(Text("No wrong command got through.", style="bold green"))
    sys.stdout.flush()
    return 1 if failed else 0


def _table(results: Results) -> Table:
    table = Table(title="What went wrong, and who did what", title_justify="left", show_lines=True)
    for name in ("at", "event", "bare model commanded", "guard commanded"):
        table.add_column(name, overflow="fold")
    for name in ("safe after", "outside", "back after"):
        table.add_column(name, justify="right")
    for row in results.rows:
        bare = Text(row.bare_said, style="red" if row.bare.wrong else "")
        guard = Text(row.guard_said, style="bold red" if row.guard.wrong else "green")
        table.add_row(row.at, row.entry.title, bare, guard, row.to_safe, row.away, row.recovered)
    table.caption = (
        "safe after: first evidence to safe command; outside: time not in NOMINAL or DEGRADED;"
        " back after: end of the fault to NOMINAL"
    )
    return table


def _total(figure: Figure) -> Text:
    good = figure.holds
    text = Text("ok   " if good else "FAIL ", style="green" if good else "bold red")
    value = f"{figure.value:.1%}" if figure.unit == "1" else f"{figure.value:g} {figure.unit}"
    return text.append(f"{figure.id:32} {value:>18}   {figure.bar}", style="default")
