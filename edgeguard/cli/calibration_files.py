# SPDX-License-Identifier: Apache-2.0
"""The files of `edgeguard calibrate`, looked at before anything runs: what it writes has a place,
and is none of what it reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgeguard.bundle import SUFFIX as BUNDLE
from edgeguard.card import Card
from edgeguard.config import GuardConfig
from edgeguard.config.calibration import arrays_named, stated_sha256
from edgeguard.config.files import PACKAGE
from edgeguard.config.load import files_of_members
from edgeguard.config.toml import read as read_toml
from edgeguard.errors import ConfigError, EdgeguardError
from edgeguard.figures import check_writable
from edgeguard.written import apart

if TYPE_CHECKING:
    from edgeguard.cli.calibrate import Options

CODE = Path(__file__).resolve().parent.parent
ARRAYS = ("embedding", "risk")  # kinds of detectors whose numbers go into a file of their own


def refuse_bundle(file: Path) -> None:
    """A bundle is signed as it is: nothing can be put into it, and where it lies open is removed
    at the end."""
    if file.suffix == BUNDLE:
        raise EdgeguardError(
            f"{file}: is a bundle, which takes no other calibration; calibrate the guard.toml that "
            "it was exported from, and export again"
        )


def check_outputs(
    cfg: GuardConfig, cards: Mapping[str, Card], options: Options, target: Path, named: Path
) -> None:
    """Raises EdgeguardError for an output without a folder, or that is an input or another output.

    target: where the numbers go; named: the calibration file of guard.toml, which a plain results
    file must not replace either.
    """
    _refuse_package(cfg, target, named)
    try:
        check_writable(target)
    except EdgeguardError as error:
        raise EdgeguardError(f"{error}; --out FILE writes elsewhere") from None
    arrays = target.with_suffix(".npz")
    read = list(_read(cfg, cards, options))
    of = "--out" if options.out else f"{options.file}: guard.calibration:"
    apart(of, target, *read)
    fitted = any(d.kind in ARRAYS for d in cfg.detectors.values())
    if options.data_path is None or fitted:
        apart(f"{of} {target}: its arrays:", arrays, *read)
    if cfg.guard.calibration is None and options.out is None:
        _refuse_strange(options.file, target, arrays)
    if target.exists() and not target.is_file():  # /dev/null would become a file
        raise EdgeguardError(f"{of} {target}: is no ordinary file; name another")
    if target == arrays:
        raise EdgeguardError(f"{of} {target}: its arrays have that name; call it .toml")
    _refuse_foreign(of, target, arrays if fitted else None)
    if options.json_to is None:
        return
    check_writable(options.json_to)
    apart("--json", options.json_to, *read, target, arrays, named)
    if options.json_to.resolve() in (target.resolve(), arrays.resolve()):
        raise EdgeguardError(
            f"--json {options.json_to}: the calibration is written there; name another"
        )


def _refuse_strange(file: Path, *written: Path) -> None:
    """What lies at the usual place, and this guard.toml does not name, another one may use."""
    for path in written:
        if path.exists():
            raise EdgeguardError(
                f"{path}: exists, and {file} does not name it, so it may be that of another"
                f' guard.toml; if it is not, write calibration = "{written[0].name}" in [guard] of'
                f" {file}, else name another file with --out"
            )


def _refuse_package(cfg: GuardConfig, target: Path, named: Path) -> None:
    """What is installed, every guard that names it reads; in a checkout it lies beside the code."""
    shipped = (cfg.guard.calibration or "").startswith(PACKAGE)
    place = target.resolve()
    if place.is_relative_to(CODE) or (shipped and place == named.resolve()):
        raise EdgeguardError(
            f"{target}: belongs to the installed package, and other guards read it too; write"
            f" another file with --out, and name that one in [guard] of {cfg.source}"
        )


def _refuse_foreign(of: str, target: Path, arrays: Path | None) -> None:
    """Replaced are only a calibration, and the arrays that it names. An empty file is nobody's.

    arrays: None where none are written.
    """
    named = None
    if target.exists() and target.stat().st_size:
        try:
            tables = read_toml(target)[0]
        except ConfigError:
            tables = {}
        if stated_sha256(tables) is None:
            raise EdgeguardError(
                f"{of} {target}: was not written by `edgeguard calibrate`, and would be lost; name"
                " another, or remove it"
            )
        named = arrays_named(tables)
    ours = named is not None and arrays is not None and named[0] == arrays.name
    if arrays is not None and arrays.exists() and not ours:
        raise EdgeguardError(
            f"{of} {target}: its arrays would replace {arrays}, which it does not name; name"
            " another, or remove that"
        )


def _read(cfg: GuardConfig, cards: Mapping[str, Card], options: Options) -> Iterator[Path]:
    """Every file that the command reads, or would destroy the sense of: cards with what they name,
    and the data."""
    yield options.file
    yield from options.signals
    if options.split is not None:
        yield options.split
    if options.data_path is not None:
        yield options.data_path
        yield from _of_folder(cfg, cards, options.data_path)
    yield from files_of_members(cfg, cards)


def _of_folder(cfg: GuardConfig, cards: Mapping[str, Card], data: Path) -> Iterator[Path]:
    """Of a data set in a folder: its files, and the split that lies beside the first model."""
    from edgeguard.cli.calibration_run import split_file

    if data.is_dir() and (data / "gtsrb").is_dir():
        yield from (data / "gtsrb").iterdir()
        yield split_file(cfg, cards)
