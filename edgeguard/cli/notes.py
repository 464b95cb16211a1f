# SPDX-License-Identifier: Apache-2.0
"""What a GuardConfig allows and may still surprise, in sentences."""

from __future__ import annotations

import math
from collections.abc import Mapping

from edgeguard.card import Card
from edgeguard.config import GuardConfig, schema
from edgeguard.config.load import own_code
from edgeguard.config.policy import max_gap_ms
from edgeguard.sandbox import lacking

_NO_FILE = "0" * 64  # of a card by `edgeguard.adapters.card`: nobody knows the file


def notes(cfg: GuardConfig, cards: Mapping[str, Card]) -> list[str]:
    """What is allowed and may still surprise."""
    said = []
    for name, channel in cfg.channels.items():
        values = [v for v in channel.means.values() if not isinstance(v, str)]
        if channel.kind == "label" and not values:
            said.append(f"channel.{name}: every class is hold, so no model ever moves it")
        if channel.degraded is None:
            said.append(f"channel.{name}: no degraded envelope, DEGRADED moves as NOMINAL does")
    said += _refusing_nothing(cfg, cards)
    said += _late(cfg) + _patient(cfg) + _blind(cfg) + _twins(cards) + _together(cfg)
    if cfg.telemetry.disclosure != "label":
        said.append(f"telemetry: disclosure {cfg.telemetry.disclosure} lets out what models say")
    if cfg.rearm is None:
        said.append("no [rearm]: a latched SAFE_STOP ends only with a restart")
    unsigned = ", not in the bundle, and not covered by its signature" if cfg.bundle else ""
    said += [
        f"channel.{name}: its rule is {code}, Python code of this machine: not imported here"
        f"{unsigned}"
        for name, code in own_code(cfg).items()
    ]
    for name, card in cards.items():
        if card.golden is None and cfg.members[name].runtime != "external":
            said.append(f"member.{name}: the card has no golden vectors, so it cannot arm")
    return said + _isolation(cfg)


def _isolation(cfg: GuardConfig) -> list[str]:
    said = [
        f'member.{name}: isolation = "none": whatever breaks it breaks the guard'
        for name, member in cfg.members.items()
        if member.isolation == "none" and member.runtime != "external"
    ]
    if any(process(member) for member in cfg.members.values()):
        said += [f"workers: this kernel does not give {what}" for what in lacking()]
    return said


def _blind(cfg: GuardConfig) -> list[str]:
    """Cameras whose pictures nobody here looks at."""
    looking = {m.camera for m in cfg.members.values() if m.runtime != "external"}
    looking |= {d.camera for d in cfg.detectors.values() if d.kind == "image"}
    return [
        f"camera.{name}: no member or detector that runs here looks through it; only that frames"
        " are lost or repeat is noticed"
        for name in cfg.cameras
        if name not in looking
    ]


def _refusing_nothing(cfg: GuardConfig, cards: Mapping[str, Card]) -> list[str]:
    """Certainties below what a member that knows nothing says: LOW_CERTAINTY never acts on it."""
    said = []
    for name, channel in cfg.channels.items():
        for operation, demand in channel.demands.items():
            if channel.kind != "label" or isinstance(demand.certainty, str):
                continue
            free = [
                f"{m} ({cards[m].scores.size} classes)"
                for m, member in cfg.members.items()
                if operation in member.may_suggest.operations.get(name, ())
                and demand.certainty * cards[m].scores.size <= 1.0
            ]
            if free:
                said.append(
                    f"channel.{name}.{operation}: certainty {demand.certainty:g} refuses nothing"
                    f" that is said by {', '.join(free)}: the surest of N classes never has less"
                    " than 1/N; there the quorum alone decides"
                )
    return said


def _late(cfg: GuardConfig) -> list[str]:
    """Members that may lose their vote between two answers, each of them in time."""
    said = []
    for name, member in cfg.members.items():
        if member.camera is None:
            continue
        needed_ms = 1000.0 / cfg.cameras[member.camera].rate_hz + member.deadline_ms
        if member.max_age_ms < needed_ms:
            said.append(
                f"member.{name}: max_age_ms {member.max_age_ms:g} is shorter than the time between"
                f" two frames and deadline_ms ({needed_ms:g} ms): its vote lapses where the next"
                " answer takes long"
            )
    return said


def _patient(cfg: GuardConfig) -> list[str]:
    """Causes that wait on top of the limit that was the patience, for longer than that itself."""
    ages = [member.max_age_ms for member in cfg.members.values()]
    frames = [camera.max_age_ms for camera in cfg.cameras.values()]
    limits_ms = {
        "STALE_MODEL": ("max_age_ms of the members", max(ages)),  # when the last of them is too old
        "FRAME_LOST": ("max_age_ms of a camera", min(frames, default=math.inf)),
        "TIME_FAULT": ("max_gap_ms", max_gap_ms(cfg)),
    }
    return [
        f"cause.{name}: on_ms {cfg.causes[name].on_ms:g} is longer than {what} ({limit_ms:g} ms):"
        " until it acts, what was accepted last is commanded"
        for name, (what, limit_ms) in limits_ms.items()
        if cfg.causes[name].on_ms > limit_ms
    ]


def _twins(cards: Mapping[str, Card]) -> list[str]:
    """Members that would be wrong together."""
    owner: dict[str, str] = {}
    said = []
    for name, card in cards.items():
        first = owner.setdefault(card.sha256, name)
        if first != name and card.sha256 != _NO_FILE:
            said.append(
                f"member.{name}: the same file as member.{first}; its vote adds no evidence"
            )
    return said


def _together(cfg: GuardConfig) -> list[str]:
    """Quorums that one process can fill by itself, and so one crash can take."""
    return [
        f"channel.{name}.{operation}: the quorum of {demand.quorum} fits into process {shared}"
        f" ({', '.join(votes)}): one crash or fault there is all of its votes"
        for name, channel in cfg.channels.items()
        for operation, demand in channel.demands.items()
        for shared, votes in _sharing(cfg, name, operation).items()
        if 1 < demand.quorum <= len(votes)
    ]


def _sharing(cfg: GuardConfig, channel: str, operation: str) -> dict[str, list[str]]:
    """By named process, the members in it that may do this."""
    inside: dict[str, list[str]] = {}
    for name, member in cfg.members.items():
        if member.process and operation in member.may_suggest.operations.get(channel, ()):
            inside.setdefault(member.process, []).append(name)
    return inside


def process(member: schema.Member) -> str:
    """In what process of its own a member runs."""
    if member.isolation == "none" or member.runtime == "external":
        return ""
    where = f"process {member.process}" if member.process else "own process"
    return where if member.apart else f"{where} in edgeguard run"
