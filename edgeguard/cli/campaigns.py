# SPDX-License-Identifier: Apache-2.0
"""What `edgeguard inject` can inject into: a guard, the firmware's twin, its image in QEMU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click
from attrs import frozen

from edgeguard.errors import EdgeguardError
from edgeguard.provenance import key_of
from edgeguard.zoo import models_dir

if TYPE_CHECKING:
    from firmware_bridge.campaign.store import Store

Progress = Callable[[str, int], None]
MCU_SAFE_MS = 50.0
SLOW = 300


class Fault(Protocol):
    """What is common to faults of all targets."""

    @property
    def id(self) -> str: ...
    @property
    def title(self) -> str: ...


@frozen
class Campaign:
    """One target, ready to be injected into."""

    prefix: str
    """Of its figures' ids."""
    faults: Sequence[Fault]
    many: tuple[int, int]
    """Injections of each fault: all, and with --quick."""
    key: str
    """Changes with whatever results depend on."""
    named: float
    """The share of injections whose cause must be named."""
    safe_ms: float | None
    """Until the safe command; None: each injection has a bound of its own."""
    go: Callable[[Mapping[str, int], int, Store, int, Progress], None]
    """(injections by fault, seed, store, jobs, progress)"""
    slow: frozenset[str] = frozenset()
    """Faults that touch files or processes: at most 300 of each."""

    def counts(self, faults: Sequence[Fault], n: int) -> dict[str, int]:
        """Injections by fault."""
        return {f.id: min(n, SLOW) if f.id in self.slow else n for f in faults}


def host(policy: Path | None) -> Campaign:
    """A whole guard, whose members are puppets. Raises EdgeguardError."""
    from edgeguard import config
    from edgeguard.streams.campaign import puppets
    from edgeguard.streams.campaign.registry import FAULTS
    from edgeguard.streams.campaign.run import chunk
    from firmware_bridge.campaign.run import campaign

    path = policy or models_dir() / "guard.toml"
    loaded = config.load(path)
    puppets.meaning(loaded)

    def go(
        counts: Mapping[str, int], seed: int, store: Store, jobs: int, progress: Progress
    ) -> None:
        make = partial(chunk, seed=seed, policy=path)
        campaign(counts, store, make, jobs=jobs, progress=progress)

    slow = frozenset(fault.id for fault in FAULTS if fault.real)
    key = key_of([path, *_files(loaded)])
    return Campaign("inject", FAULTS, (10_000, 300), key, 0.95, None, go, slow)


def _files(loaded: Any) -> list[Path]:
    from edgeguard.config import load_cards, model_path

    cards = load_cards(loaded)
    return [model_path(loaded, name, card) for name, card in cards.items()]


def _policy_key(policy: Path | None) -> str:
    return key_of([policy or models_dir() / "guard.toml"])


def twin(policy: Path | None) -> Campaign:
    """The firmware's logic in this process, on a clock of its own."""
    from firmware_bridge.campaign.registry import FAULTS
    from firmware_bridge.campaign.run import campaign, chunk

    table = _table(policy)

    def go(
        counts: Mapping[str, int], seed: int, store: Store, jobs: int, progress: Progress
    ) -> None:
        make = partial(chunk, seed=seed, table=table)
        campaign(counts, store, make, jobs=jobs, progress=progress)

    return Campaign(
        "mcu",
        _fitting(FAULTS, table),
        (10_000, 1000),
        _policy_key(policy),
        0.99,
        MCU_SAFE_MS,
        go,
    )


def qemu(policy: Path | None) -> Campaign:
    """The firmware's image in QEMU, in real time."""
    from firmware_bridge.campaign import qemu

    table = _table(policy)

    def go(
        counts: Mapping[str, int], seed: int, store: Store, jobs: int, progress: Progress
    ) -> None:
        chosen = [fault for fault in qemu.FAULTS if fault.id in counts]
        qemu.campaign(chosen, max(counts.values()), seed, table, store, progress)

    return Campaign(
        "mcu.qemu",
        _fitting(qemu.FAULTS, table),
        (200, 4),
        _policy_key(policy),
        0.99,
        MCU_SAFE_MS,
        go,
    )


TARGETS: dict[str, Callable[[Path | None], Campaign]] = {"host": host, "twin": twin, "qemu": qemu}


def _table(policy: Path | None) -> dict[str, Any]:
    """The microcontroller's table. The demo's car has no steering: it gets one."""
    from edgeguard import config
    from firmware_bridge.campaign.table import with_steering

    mcu = config.mcu_dict(config.load(policy or models_dir() / "guard.toml"))
    return with_steering(mcu) if policy is None else mcu


def _fitting(faults: Iterable[Any], table: dict[str, Any]) -> list[Any]:
    """Those that this vehicle can have."""
    steers = len(table["policy"]["channels"]) > 1
    left = [fault.id for fault in faults if fault.steers and not steers]
    if left:
        click.echo(f"{', '.join(left)} left out: this vehicle has no steering channel", err=True)
    return [fault for fault in faults if fault.id not in left]


def chosen(campaign: Campaign, names: str | None) -> list[Fault]:
    """The faults to inject. Raises EdgeguardError for a name that is not among them."""
    if names is None:
        return list(campaign.faults)
    wanted = [name.strip().upper() for name in names.split(",") if name.strip()]
    known = {fault.id: fault for fault in campaign.faults}
    wrong = [name for name in wanted if name not in known]
    if wrong or not wanted:
        raise EdgeguardError(
            f"--faults {names}: this target has no {', '.join(wrong) or 'such fault'};"
            f" known: {', '.join(known)}"
        )
    return [known[name] for name in known if name in wanted]
