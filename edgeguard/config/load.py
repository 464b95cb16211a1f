# SPDX-License-Identifier: Apache-2.0
"""From a guard.toml to a GuardConfig, or one ConfigError that lists all that is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from attrs import evolve

from edgeguard.bundle import SUFFIX, open_bundle
from edgeguard.card import Card
from edgeguard.config import calibration, cards, rules
from edgeguard.config.defaults import default_causes
from edgeguard.config.draft import Draft, draft
from edgeguard.config.schema import CauseRow, GuardConfig


def load(
    path: str | Path, *, calibrated: bool = True, files: bool = False,
    trust: Iterable[Path] = (), unsigned: bool = False,
) -> GuardConfig:  # fmt: skip
    """Read and check a guard.toml, or that of a bundle (.egb); opens no ML runtime.

    trust: public keys, or folders of them, that count for a bundle instead of the machine's;
    unsigned=True takes one without a signature that counts, which stays visible in the decisions.
    The members' cards are read and must fit. `calibrated=False` leaves the word "calibrated"
    where it stands (for `edgeguard calibrate`); `files=True` also compares every model file with
    the hash in its card. Raises ConfigError, one line per problem: `FILE:LINE: key: what; advice`.
    """
    if Path(path).suffix == SUFFIX:
        opened = open_bundle(Path(path), trust, unsigned=unsigned)
        made = load(opened.policy, calibrated=calibrated, files=True)
        return evolve(made, bundle=opened, causes=_visible(made, opened.signed))
    written = draft(Path(path))
    rules.check(written)
    found = cards.check(written, files)
    known = calibration.apply(written, found) if calibrated else calibration.Calibrated({}, {})
    written.report.done()
    return _finished(written, known)


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
