# SPDX-License-Identifier: Apache-2.0
"""What `edgeguard inject` can inject into: a guard, the firmware's twin, its image in QEMU."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click
from attrs import Factory, frozen

from edgeguard.errors import EdgeguardError
from edgeguard.processes import processes
from edgeguard.provenance import key_of
from edgeguard.zoo import models_dir

if TYPE_CHECKING:
    from firmware_bridge.campaign.store import Store

Progress = Callable[[str, int], None]
QUICK = 10  # a quick look makes such a part of the faults that are slow
PACKAGES = {"F25": ("mcap", "record"), "F28": ("cv2", "images")}  # fault: package, its extra
# Faults that are rates by nature have commands of their own.
RATES = {
    "F09": "edgeguard lab flips",
    "F10": "edgeguard lab common-mode",
    "F11": "edgeguard lab common-mode",
}


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
    key_now: Callable[[], str]
    """Changes with whatever results depend on."""
    named: float
    """The share of injections whose cause must be named."""
    safe_ms: float | None
    """Until the safe command; None: each injection has a bound of its own."""
    go: Callable[[Mapping[str, int], int, Store, int, Progress], None]
    """(injections by fault, seed, store, jobs, progress)"""
    most: Mapping[str, int] = Factory(dict)
    """Faults that use files or processes are slow: at most so many of each."""
    key: str = Factory(lambda campaign: campaign.key_now(), takes_self=True)
    """That, when the campaign began."""

    def counts(self, faults: Sequence[Fault], n: int | None, quick: bool) -> dict[str, int]:
        """Injections by fault; n: what was asked for, or None."""
        wanted, part = n or self.many[quick], QUICK if quick else 1
        return {f.id: min(wanted, self.most.get(f.id, wanted * part) // part) for f in faults}

    def unchanged(self, store: Store) -> None:
        """Processes start as the campaign goes on: raises EdgeguardError when what they read is no
        longer what the name of the results says."""
        if self.key_now() != self.key:
            raise EdgeguardError(
                f"{store.path}: code, policy, models or pictures changed while this was made, so"
                " nobody knows of which it is; delete it and begin anew"
            )


def host(policy: Path | None, pictures: Path | None = None) -> Campaign:
    """A whole guard, whose members are puppets, or its own models in processes of their own.

    pictures: what the cameras see then; the demo's guard has its own. Raises EdgeguardError.
    """
    from edgeguard import config
    from edgeguard.streams.campaign import puppets
    from edgeguard.streams.campaign.registry import FAULTS
    from edgeguard.streams.campaign.run import chunk
    from firmware_bridge.campaign.run import campaign

    path = policy or _demo()
    loaded = config.load(path)
    puppets.meaning(loaded)
    seen = pictures or (models_dir() / "stream.npz" if policy is None else None)
    faults = _possible(FAULTS, loaded, seen)
    alone = {fault.id for fault in faults if fault.alone}
    most = {fault.id: fault.most for fault in faults if fault.most is not None}

    read = _read(path, loaded)

    def key() -> str:
        return _key(read + (_shown(seen) if seen else []))

    def go(
        counts: Mapping[str, int], seed: int, store: Store, jobs: int, progress: Progress
    ) -> None:
        make = partial(chunk, seed=seed, policy=path, pictures=seen)
        beside = {fault: n for fault, n in counts.items() if fault not in alone}
        ticks = {fault: n for fault, n in beside.items() if fault not in most}
        campaign(ticks, store, make, jobs=jobs, progress=progress)
        slow = {fault: n for fault, n in beside.items() if fault in most}
        campaign(slow, store, make, jobs=jobs, progress=progress, each=1)
        whole.unchanged(store)
        on_clock = {fault: n for fault, n in counts.items() if fault in alone}
        with _apart(make, here=jobs == 1) as one:
            campaign(on_clock, store, one, progress=progress, each=1)

    whole = Campaign("inject", faults, (10_000, 300), key, 0.95, None, go, most)
    return whole


@contextmanager
def _apart(make: Callable[..., Any], here: bool) -> Iterator[Callable[..., Any]]:
    """Made in one other process, where nothing disturbs what keeps to the clock; or here."""
    if here:
        yield make
        return
    with processes(1) as pool:
        yield lambda fault, indices: pool.submit(make, fault, indices).result()


def _possible(faults: Iterable[Any], loaded: Any, pictures: Path | None) -> list[Any]:
    """Those that can be made here; says which cannot, and why."""
    from edgeguard.streams.campaign.road import unfit

    reasons: dict[str, str | None] = {}
    for fault in faults:
        package, extra = PACKAGES.get(fault.id, ("edgeguard", ""))
        if find_spec(package) is None:
            reasons[fault.id] = f"needs the extra {extra}"
        elif fault.world == "workers":
            want = "--pictures FOLDER says what the cameras see"
            reasons[fault.id] = unfit(loaded) or (want if pictures is None else None)
    for why in dict.fromkeys(filter(None, reasons.values())):
        named = ", ".join(fault for fault, reason in reasons.items() if reason == why)
        click.echo(f"{named} left out: {why}", err=True)
    return [fault for fault in faults if not reasons.get(fault.id)]


def _shown(pictures: Path) -> list[Path]:
    return (
        sorted(p for p in pictures.rglob("*") if p.is_file()) if pictures.is_dir() else [pictures]
    )


def _read(policy: Path, loaded: Any) -> list[Path]:
    """All that a guard is made from, always in the same order; a bundle holds all of it."""
    from edgeguard.config.load import files_made_of

    if loaded.bundle is not None:
        return [policy]
    return sorted({file.resolve() for file in files_made_of(loaded)})


def _key(files: Iterable[Path]) -> str:
    """One that is gone, or not there as with a model that runs elsewhere, changes it as well."""
    return key_of(filter(Path.is_file, files))


def _demo() -> Path:
    return models_dir() / "guard.toml"


def twin(policy: Path | None) -> Campaign:
    """The firmware's logic in this process, on a clock of its own."""
    from firmware_bridge.campaign.registry import FAULTS
    from firmware_bridge.campaign.run import campaign, chunk

    table, read = _table(policy)

    def go(
        counts: Mapping[str, int], seed: int, store: Store, jobs: int, progress: Progress
    ) -> None:
        make = partial(chunk, seed=seed, table=table)
        campaign(counts, store, make, jobs=jobs, progress=progress)

    return Campaign(
        "mcu",
        _fitting(FAULTS, table),
        (10_000, 1000),
        lambda: _key(read),
        0.99,
        _safe_ms(table),
        go,
    )


def _safe_ms(table: Mapping[str, Any]) -> float:
    from firmware_bridge.campaign.judge import safe_us

    return safe_us(table["link"]["period_us"]) / 1000


def qemu(policy: Path | None) -> Campaign:
    """The firmware's image in QEMU, in real time."""
    from firmware_bridge.campaign import qemu
    from firmware_bridge.campaign.faults_live import FAULTS
    from firmware_bridge.sim import sources

    table, read = _table(policy)

    def go(
        counts: Mapping[str, int], seed: int, store: Store, jobs: int, progress: Progress
    ) -> None:
        qemu.campaign(counts, seed, table, store, jobs, progress)

    return Campaign(
        "mcu.qemu",
        _fitting(FAULTS, table),
        (200, 4),
        lambda: _key([*read, *sources()]),
        0.99,
        _safe_ms(table),
        go,
    )


TARGETS: dict[str, Callable[[Path | None], Campaign]] = {"host": host, "twin": twin, "qemu": qemu}


def campaign_of(name: str, policy: Path | None, pictures: Path | None) -> Campaign:
    """What is injected into this target. Raises EdgeguardError."""
    if pictures is None:
        return TARGETS[name](policy)
    if name != "host":
        raise EdgeguardError(f"--pictures: --target {name} has no cameras")
    return host(policy, pictures)


def _table(policy: Path | None) -> tuple[dict[str, Any], list[Path]]:
    """The microcontroller's table, and the files that it is made from. The demo's car has no
    steering: it gets one."""
    from edgeguard import config
    from firmware_bridge.campaign.table import with_steering

    path = policy or _demo()
    loaded = config.load(path)
    mcu = config.mcu_dict(loaded)
    return with_steering(mcu) if policy is None else mcu, _read(path, loaded)


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
        elsewhere = [f"; {name}: {RATES[name]}" for name in wrong if name in RATES]
        raise EdgeguardError(
            f"--faults {names}: this target has no {', '.join(wrong) or 'such fault'};"
            f" known: {', '.join(known)}{''.join(elsewhere)}"
        )
    return [known[name] for name in known if name in wanted]
