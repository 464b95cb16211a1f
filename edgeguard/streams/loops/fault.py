# SPDX-License-Identifier: Apache-2.0
"""What is done to a drive from the onset on: to its frames, to what members say, to the link."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy.typing as npt
from attrs import frozen

from edgeguard.card import Card
from edgeguard.streams.loops.vehicle import U8

Scores = npt.NDArray[Any]


class Moment(NamedTuple):
    """When it is, and what the vehicle knows: an attacker who knows the guard reads it as well."""

    since: int
    """Steps since the onset, negative before it."""
    signals: Mapping[str, float]


Transform = Callable[[U8, Moment], U8 | None]
"""A frame on its way; None: it does not arrive. Called before the onset as well, where what it
returns is not used."""
Tamper = Callable[[Card, Scores, Moment], Scores | None]
"""(a member's card, its raw scores, when) -> what is heard of them; None: the member is gone."""


@frozen
class Fault:
    """One fault of one drive."""

    frame: Transform | None = None
    member: Tamper | None = None
    cut: Callable[[Moment], bool] | None = None
    """Whether the cable between host and microcontroller is cut then."""
    period: int | None = None
    """Steps after which it begins anew."""
    note: str = ""
    """What was done, where its name does not say it all."""

    def is_cut(self, moment: Moment) -> bool:
        """Now, after the onset."""
        return self.cut is not None and moment.since >= 0 and self.cut(moment)


Make = Callable[[int], Fault]
"""Seed of the drive -> its fault."""
