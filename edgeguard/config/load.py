# SPDX-License-Identifier: Apache-2.0
"""From a guard.toml to a GuardConfig, or one ConfigError that lists all that is wrong with it."""

from __future__ import annotations

from pathlib import Path

from edgeguard.card import Card
from edgeguard.config import calibration, cards, rules
from edgeguard.config.draft import Draft, draft
from edgeguard.config.schema import GuardConfig


def load(path: str | Path, *, calibrated: bool = True, files: bool = False) -> GuardConfig:
    """Read and check a guard.toml; opens no ML runtime.

    The members' cards are read and must fit. `calibrated=False` leaves the word "calibrated"
    where it stands (for `edgeguard calibrate`); `files=True` also compares every model file with
    the hash in its card. Raises ConfigError, one line per problem: `FILE:LINE: key: what; advice`.
    """
    made = draft(Path(path))
    rules.check(made)
    found = cards.check(made, files)
    temperatures = calibration.apply(made, found) if calibrated else {}
    made.report.done()
    return _finished(made, temperatures)


def load_cards(cfg: GuardConfig) -> dict[str, Card]:
    """The model card of every member, by its name. Raises ConfigError."""
    return {name: cards.card_of(cfg.source, member) for name, member in cfg.members.items()}


def model_path(cfg: GuardConfig, member: str, card: Card) -> Path:
    """The model file that a member runs."""
    return cards.model_path(cfg.source, cfg.members[member], card)


def _finished(made: Draft, temperatures: dict[str, float]) -> GuardConfig:
    assert made.guard is not None and made.controller is not None  # or it would have been reported
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
        temperatures=temperatures,
    )
