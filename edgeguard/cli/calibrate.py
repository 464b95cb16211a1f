# SPDX-License-Identifier: Apache-2.0
"""`edgeguard calibrate`: temperatures, certainty thresholds and detector limits from tracks."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeguard.cli.numbers import Finite
from edgeguard.errors import ConfigError, EdgeguardError
from edgeguard.written import together

if TYPE_CHECKING:
    from edgeguard.config import GuardConfig
    from edgeguard.evidence.calibration import Calibration, Frames, Member, Wishes

FILE = click.Path(path_type=Path, dir_okay=False)
FOUND = click.Path(path_type=Path, exists=True)
SHARE = Finite(0.5, 1.0, max_open=True)


@click.command()
@click.argument("file", metavar="GUARD.TOML", type=FILE)
@click.option("--data", "data_path", type=FOUND, metavar="FILE.npz|DIR",
              help="Calibration tracks: npz with x [N,H,W,3] uint8 RGB, y, track (and frame) in "
                   "driving order, or a folder that holds gtsrb/.")  # fmt: skip
@click.option("--signals", "signals", type=FOUND, multiple=True, metavar="LOG",
              help="A clean log of signals for the associations, CSV or JSONL with a column t in "
                   "seconds; may be given more than once, each drive once.")  # fmt: skip
@click.option("--split", type=FILE, help="split.json that names the calibration tracks of a folder "
              "[default: the one beside the first member's model].")  # fmt: skip
@click.option("--target-accuracy", type=SHARE, metavar="A",
              help="Share right of what an operation accepts; for certainty = \"calibrated\".",
              )  # fmt: skip
@click.option("--max-false-trips-per-hour", "rate", type=Finite(0.0, min_open=True),
              metavar="R", help="For each calibrated detector, instead of its own in guard.toml.",
              )  # fmt: skip
@click.option("--confidence", type=SHARE, default=0.95, show_default=True,
              help="That the target accuracy is really kept, for each operation.")  # fmt: skip
@click.option("--out", type=FILE, help="Where to write [default: the calibration named in "
              "GUARD.TOML, or calibration.toml beside it].")  # fmt: skip
@click.option("--json", "json_to", type=FILE, metavar="FILE", help="Write the figures as JSON.")
@click.option("--plots/--no-plots", default=True, show_default=True,
              help="Draw reliability and risk-coverage beside the output.")  # fmt: skip
def command(**options: Any) -> None:
    """Calibrate GUARD.TOML on tracks that nothing was trained on and nothing is reported on.

    Fits each member's temperature, and finds every number that GUARD.TOML leaves as "calibrated".
    What the tracks cannot support is refused with the nearest that they can; then nothing is
    written, and the exit code is 2.
    """
    _run(Options(**options))


@dataclass(frozen=True)
class Options:
    """The command line."""

    file: Path
    data_path: Path | None
    signals: tuple[Path, ...]
    split: Path | None
    target_accuracy: float | None
    rate: float | None
    confidence: float
    out: Path | None
    json_to: Path | None
    plots: bool


@dataclass(frozen=True)
class Job:
    """Calibration tracks with what is wished of them; ``fits`` are arrays by member and feature."""

    frames: Frames
    members: Sequence[Member]
    wishes: Wishes
    fits: dict[tuple[str, str], dict[str, Any]]
    sha256: str


def _run(options: Options) -> None:
    from edgeguard import config
    from edgeguard.cli import calibration_arrays as arrays
    from edgeguard.cli import calibration_files as files
    from edgeguard.cli import calibration_report as report
    from edgeguard.cli import calibration_run as run
    from edgeguard.evidence.associations import read_logs
    from edgeguard.evidence.calibration import Calibration, calibrate
    from edgeguard.evidence.conformal import UnsupportedWishError

    files.refuse_bundle(options.file)
    cfg = config.load(options.file, calibrated=False)
    cards = config.load_cards(cfg)
    policy = run.provisional_policy(cfg, cards)
    related = arrays.wished_associations(cfg, policy, options.rate)
    _check_given(cfg, options, bool(related))
    target = options.out or _target(cfg)
    files.check_outputs(cfg, cards, options, target, _target(cfg))
    stretches = read_logs(options.signals, policy["period_us"])
    job = _gather(cfg, cards, policy, options) if options.data_path else None
    try:
        found = calibrate(job.frames, job.members, job.wishes) if job else Calibration()
        arrays.fit_associations(found, related, stretches, policy["period_us"])
    except UnsupportedWishError as error:
        lines = [f"{options.file}: {line}" for line in str(error).split("\n")]
        raise EdgeguardError("\n".join(lines)) from None
    except ValueError as error:
        raise ConfigError(f"{options.data_path}: {error}") from None
    rate_hz = job.frames.stream.rate_hz if job else 0.0
    fits = {**(job.fits if job else {}), **arrays.risk_blocks(cfg, found, policy, rate_hz)}
    rates = _rates(cfg, found, options)
    _write_all(cfg, cards, found, job, fits, rates, options, target)
    report.tables(found, job.frames if job else None, rates, target)
    report.risk(cfg, fits)
    _print_unused(found, rates, options)
    _print_unnamed(cfg, target, options)
    if options.plots and job:
        report.draw(found, target)
    if options.json_to is not None:
        report.figures(found, options.json_to)


def _check_given(cfg: GuardConfig, options: Options, related: bool) -> None:
    """Refuse a command line that leaves out what GUARD.TOML needs."""
    from edgeguard.cli import calibration_run as run
    from edgeguard.cli.calibration_arrays import CALIBRATED
    from edgeguard.config.calibration import OF_DETECTOR

    frames = bool(run.operations(cfg)) or any(
        d.kind == "embedding" or any(getattr(d, k) == CALIBRATED for k in OF_DETECTOR)
        for d in cfg.detectors.values()
        if d.kind in run.FROM_FRAMES
    )
    if options.data_path is None and frames:
        raise click.UsageError(f"{options.file} asks for numbers from frames: give --data")
    if not options.signals and related:
        raise click.UsageError(f"{options.file} asks for associations: give --signals")
    if options.data_path is None and not options.signals:
        raise click.UsageError("give --data, --signals or both")
    if run.operations(cfg) and options.target_accuracy is None:
        raise click.UsageError(
            f"{options.file} leaves certainties to be calibrated: give --target-accuracy"
        )
    if options.rate is None:
        _check_rates(cfg, options)


def _check_rates(cfg: GuardConfig, options: Options) -> None:
    """Refuse a limit without the rate of false trips that it is found for."""
    from edgeguard.cli.calibration_arrays import CALIBRATED

    for name, detector in cfg.detectors.items():
        wished = CALIBRATED in (detector.above, detector.below)
        if wished and detector.max_false_trips_per_hour is None:
            raise click.UsageError(
                f"{options.file}: detector.{name}: leaves a limit to be calibrated: give its table "
                "max_false_trips_per_hour, or --max-false-trips-per-hour for all"
            )


def _rates(cfg: GuardConfig, found: Calibration, options: Options) -> dict[str, float]:
    """False trips per hour that were asked for, of every detector with a number to write."""
    written = {name for name, _ in found.limit} | {n for n, line in found.line.items() if line}
    return {
        name: options.rate or detector.max_false_trips_per_hour or 0.0
        for name, detector in cfg.detectors.items()
        if name in written
    }


def _gather(cfg: GuardConfig, cards: Any, policy: Any, options: Options) -> Job:
    """Run the members on the calibration tracks, and on what their embeddings are fitted to."""
    from edgeguard.cli import calibration_arrays as arrays
    from edgeguard.cli import calibration_run as run
    from edgeguard.evidence.calibration import Frames, Wishes
    from edgeguard.evidence.calibration_file import digest
    from edgeguard.evidence.tracks import Stream, Tracks

    path = options.data_path
    assert path is not None
    rate_hz = cfg.cameras[run.only_camera(cfg)].rate_hz
    split = options.split or run.split_file(cfg, cards)
    data = run.read_data(path, split)
    try:
        tracks = Tracks.of(data.track)
    except ValueError as error:
        raise ConfigError(
            f"{path}: {error}; if the arrays are in driving order, put all of them into that of"
            " numpy.argsort(track, kind='stable')"
        ) from None
    _check_labels(path, data.y, cards)
    fits: dict[tuple[str, str], dict[str, Any]] = {}
    if any(d.kind == "embedding" for d in cfg.detectors.values()):
        known = run.read_fit_data(path, split, data)
        with _Bar(len(known.x), "embeddings to fit") as tick:
            seen = run.run_members(cfg, cards, known, tick)
        fits = arrays.fit_embeddings(cfg, cards, seen.embeddings, seen.scores, known.y)
    with _Bar(len(data.x), "running the members") as tick:
        said = run.run_members(cfg, cards, data, tick)
    wishes = Wishes(
        run.operations(cfg),
        run.detectors(cfg, policy, said, options.rate, cards, fits),
        options.target_accuracy or 0.0,
        1.0 - options.confidence,
    )
    frames = Frames(data.y, tracks, Stream(rate_hz, policy["period_us"]))
    members = run.members_of(cfg, cards, said.scores)
    return Job(frames, members, wishes, fits, digest(data.x, data.y, data.track))


def _write_all(
    cfg: GuardConfig, cards: Any, found: Calibration, job: Job | None, fits: Any,
    rates: dict[str, float], options: Options, target: Path,
) -> None:  # fmt: skip
    """calibration.toml, and the arrays beside it where there are any. Without frames, what was
    fitted on some before stays."""
    from edgeguard.config.definition import definition, model_keys
    from edgeguard.evidence.calibration_file import fitted_on_frames, to_toml
    from edgeguard.evidence.embedding import read, to_bytes

    models = {name: model_keys(card) for name, card in cards.items()}
    kept = {} if job else fitted_on_frames(target, models)
    known = {*rates, *(name for name, what in fits if what == "risk")}
    definitions = {n: definition(d) for n, d in cfg.detectors.items() if n in known}
    if "arrays" in kept:
        fits = read(target.parent / kept["arrays"]["file"], kept["arrays"]["sha256"]) | fits
    named: dict[str, str] = {}
    files: dict[Path, bytes] = {}
    if fits:
        data, file = to_bytes(fits), target.with_suffix(".npz")
        files[file] = data
        named = {"file": file.name, "sha256": hashlib.sha256(data).hexdigest()}
    stated: dict[str, Any] = {"date": datetime.now(timezone.utc).isoformat(timespec="seconds")}
    if job:
        frames = job.frames
        stated |= {"sha256": job.sha256, "tracks": len(frames.tracks), "frames": len(frames.y)}
        stated["rate_hz"] = float(frames.stream.rate_hz)
    if options.signals:
        logs = [hashlib.sha256(log.read_bytes()).hexdigest() for log in options.signals]
        stated["signals_sha256"] = " ".join(logs)
    text = to_toml(found, models, rates, definitions, stated, named, kept)
    _write(target, files | {target: text.encode()})


def _target(cfg: GuardConfig) -> Path:
    from edgeguard.config.files import resolve

    return resolve(cfg.source, cfg.guard.calibration or "calibration.toml")


def _check_labels(path: Path, y: Any, cards: Any) -> None:
    for card in cards.values():
        if card.task == "classifier" and not 0 <= y.min() <= y.max() < card.scores.size:
            raise ConfigError(
                f"{path}: y goes from {y.min()} to {y.max()}, but {card.file} has "
                f"{card.scores.size} classes"
            )


def _write(target: Path, files: dict[Path, bytes]) -> None:
    try:
        together(files)
    except OSError as error:
        raise EdgeguardError(
            f"{target}: cannot be written: {error.strerror}; --out writes elsewhere"
        ) from None


def _print_unused(found: Calibration, rates: dict[str, float], options: Options) -> None:
    """What was asked for in vain is not promised by what was written."""
    for option, given, used, what in (
        ("--target-accuracy", options.target_accuracy, found.threshold, "certainty"),
        ("--max-false-trips-per-hour", options.rate, rates, "limit of a detector"),
    ):
        if given is not None and not used:
            click.echo(f'note: {option} was not used: {options.file} leaves no {what} "calibrated"')


def _print_unnamed(cfg: GuardConfig, target: Path, options: Options) -> None:
    """A guard reads the file that its guard.toml names, and no other."""
    if cfg.guard.calibration is None or target.resolve() != _target(cfg).resolve():
        name = os.path.relpath(target, options.file.parent)
        click.echo(f'next: in [guard] of {options.file} write: calibration = "{name}"')


class _Bar:
    """A bar on the terminal's error stream; called once for each frame."""

    def __init__(self, frames: int, what: str) -> None:
        from rich.console import Console
        from rich.progress import Progress

        self._bar = Progress(console=Console(stderr=True), transient=True)
        self._task = self._bar.add_task(what, total=frames)

    def __enter__(self) -> _Bar:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def __call__(self) -> None:
        self._bar.advance(self._task)
