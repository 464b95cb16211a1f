# SPDX-License-Identifier: Apache-2.0
"""From a guard.toml to a GuardConfig, or one ConfigError that lists all that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from attrs import evolve

from edgeguard.bundle import SUFFIX, open_bundle
from edgeguard.card import SUFFIX as CARD
from edgeguard.card import Card
from edgeguard.config import calibration, cards, reach, rules
from edgeguard.config.defaults import default_causes
from edgeguard.config.draft import Draft, draft
from edgeguard.config.files import resolve
from edgeguard.config.schema import CauseRow, GuardConfig
from edgeguard.config.toml import read as read_toml
from edgeguard.errors import BundleRefused, ConfigError, EdgeguardError


def load(
    path: str | Path, *, calibrated: bool = True, files: bool = False,
    trust: Iterable[Path] = (), unsigned: bool = False,
) -> GuardConfig:  # fmt: skip
    """Read and check a guard.toml, or that of a bundle (.egb); opens no ML runtime.

    trust: public keys, or folders of them, that count for a bundle instead of the machine's;
    unsigned=True takes one without a signature that counts, which stays visible in the decisions.
    Where the file is no bundle, both are refused. The members' cards are read and must fit.
    `calibrated=False` leaves the word "calibrated" where it stands, and does not ask whether a
    certainty can be reached (for `edgeguard calibrate` and `init`);
    `files=True` also compares every model file and its golden vectors with the hashes in its card.
    Raises ConfigError, one line per problem: `FILE:LINE: key: what; advice`.
    """
    if Path(path).suffix == SUFFIX:
        opened = open_bundle(Path(path), trust, unsigned=unsigned)
        try:
            made = load(opened.policy, calibrated=calibrated, files=True)
            confined(made, opened.folder, str(path))
        except EdgeguardError:
            opened.close()
            raise
        return evolve(made, bundle=opened, causes=_visible(made, opened.signed))
    if trust or unsigned:
        raise ConfigError(
            f"{path}: --trust and --unsigned are for bundles ({SUFFIX}): nothing in this file is"
            " signed, so nothing would be verified; leave them out, or give the bundle"
        )
    written = draft(Path(path))
    rules.check(written)
    found = cards.check(written, files)
    known = calibration.Calibrated({}, {})
    if calibrated:
        known = calibration.apply(written, found)
        reach.check(written, found, known.temperatures)
    written.report.done()
    return _finished(written, known)


def confined(made: GuardConfig, folder: Path, bundle: str) -> None:
    """What a bundle runs is what was signed. Raises BundleRefused for a path outside of it."""
    found: list[Path] = []
    for name, card in load_cards(made).items():
        found.append(card.directory)
        if made.members[name].runtime != "external":
            found.append(model_path(made, name, card))
        found += [card.directory / card.golden.file] if card.golden is not None else []
        found += [card.directory / card.labels_file] if card.labels_file is not None else []
    found += _calibration(made)
    for path in found:
        if not path.resolve().is_relative_to(folder.resolve()):
            raise BundleRefused(
                f"{bundle}: {path}: lies outside of the bundle; name it in guard.toml and in its"
                " card by a path relative to them, and export again"
            )


def own_code(made: GuardConfig) -> dict[str, str]:
    """Rules that are Python code of this machine, "module:attribute" by channel: no file of them
    is in a bundle, and no signature covers them."""
    named = {name: channel.fallback.controller for name, channel in made.channels.items()}
    return {name: controller for name, controller in named.items() if ":" in controller}


def files_made_of(made: GuardConfig) -> Iterator[Path]:
    """Every file that decides what a guard does: another one is another guard."""
    yield made.source
    for name, card in load_cards(made).items():
        yield model_path(made, name, card)
        yield cards.card_file(made.source, made.members[name])
        yield from _named_by(card)
    yield from _calibration(made)


def files_read(made: GuardConfig) -> Iterator[Path]:
    """Every file that a guard reads, and every card beside those: nothing is written over them."""
    yield from files_made_of(made)
    yield from files_of_members(made, load_cards(made))
    token = token_file(made)
    yield from [token] if token is not None else []


def files_named(policy: Path | None) -> Iterator[Path]:
    """The same of a guard.toml or a bundle that was not read yet; none without one. Raises
    ConfigError, BundleRefused."""
    if policy is None:
        return
    yield policy
    made = load(policy)
    yield from files_read(made)
    if made.bundle is not None:
        made.bundle.close()


def token_file(made: GuardConfig) -> Path | None:
    """Where the operator's token lies, if the policy names it. It belongs to a machine: no bundle
    holds one, so it lies beside the bundle."""
    if made.telemetry.token_file is None:
        return None
    beside = made.source if made.bundle is None else made.bundle.path
    return beside.parent / made.telemetry.token_file


def files_of_members(made: GuardConfig, known: Mapping[str, Card]) -> Iterator[Path]:
    """Models, and cards with all that they name."""
    for name, card in known.items():
        yield model_path(made, name, card)
        yield from card.directory.glob(f"*{CARD}")
        yield from _named_by(card)


def _named_by(card: Card) -> Iterator[Path]:
    for file in (card.file, card.labels_file, card.golden.file if card.golden else None):
        if file is not None:
            yield card.directory / file


def _calibration(made: GuardConfig) -> list[Path]:
    """The file that guard.toml names, and the arrays beside it."""
    if made.guard.calibration is None:
        return []
    file = resolve(made.source, made.guard.calibration)
    named = calibration.arrays_named(read_toml(file)[0])
    return [file] if named is None else [file, file.parent / named[0]]


def _visible(made: GuardConfig, signed: bool) -> dict[str, CauseRow]:
    """The causes; what a bundle that nobody vouches for says about this one does not count."""
    row = default_causes()["UNSIGNED_BUNDLE"]
    return made.causes if signed else {**made.causes, "UNSIGNED_BUNDLE": row}


def load_cards(cfg: GuardConfig) -> dict[str, Card]:
    """The model card of every member, by its name. Raises ConfigError."""
    return {name: cards.card_of(cfg.source, member) for name, member in cfg.members.items()}


def model_path(cfg: GuardConfig, member: str, card: Card) -> Path:
    """The model file that a member runs."""
    return cards.model_path(cfg.source, cfg.members[member], card)


def _finished(made: Draft, known: calibration.Calibrated) -> GuardConfig:
    # or it would have been reported
    assert made.guard is not None and made.controller is not None and made.telemetry is not None
    return GuardConfig(
        source=made.source,
        content=made.content,
        guard=made.guard,
        cameras=made.cameras,
        signals=made.signals,
        rearm=made.rearm,
        controller=made.controller,
        members=made.members,
        channels=made.channels,
        detectors=made.detectors,
        causes=made.causes,
        mcu=made.mcu,
        telemetry=made.telemetry,
        temperatures=known.temperatures,
        fits=known.fits,
    )
