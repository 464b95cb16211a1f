# SPDX-License-Identifier: Apache-2.0
"""A transition demand: a person is asked to drive, and has so many seconds; after them the vehicle
stops. The deadline is the range of a signal in guard.toml, so the policy decides what follows.

    person = Handover(guard, ask=ring_the_bell)
    decision = person.decide(signals, t_ns)             # in place of guard.decide
    ...
    person.accept()                                     # they have the wheel, until guard.rearm
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from edgeguard.config.fixed import whole_ns
from edgeguard.decision import Decision, Mode
from edgeguard.errors import ConfigError
from edgeguard.given import as_dict
from edgeguard.guard import Guard

if TYPE_CHECKING:
    from edgeguard.output.mcu import Behind

MOST_S = 32767.0  # Q16.16

_log = logging.getLogger("edgeguard")


class Handover:
    """Counts how long a person has been asked for. Who asks is `asks_operator` of a cause."""

    def __init__(
        self, guard: Guard | Behind, ask: Callable[[Decision], object], signal: str = "waiting"
    ) -> None:
        """signal: in s; its range ends at the deadline, and past it is INPUT_INVALID. ask: is
        called once a demand, in the deciding thread; must not block. Raises ConfigError."""
        config = guard.config
        declared = config.signals.get(signal)
        if declared is None or declared.unit != "s":
            raise ConfigError(
                f"{config.source}: signal.{signal}: want it, in s, with a range from 0 to the"
                " deadline: past that the vehicle stops"
            )
        self.deadline_s = float(declared.range.high)
        self._decide: Callable[..., Decision] = guard.decide
        self._takeover, self._ask, self._signal = guard.takeover, ask, signal
        self._period_ns = round(config.guard.period_ms * 1e6)
        self._waited_ns: int | None = None  # None while nobody is asked
        self._now_ns = 0

    @property
    def left_s(self) -> float | None:
        """What the person still has, to be shown; None while nobody is asked. Any thread."""
        waited_ns = self._waited_ns
        return None if waited_ns is None else max(0.0, self.deadline_s - waited_ns / 1e9)

    def decide(
        self, signals: Mapping[str, float], t_ns: int,
        authenticated: Mapping[str, float] | None = None,
    ) -> Decision:  # fmt: skip
        """`guard.decide`, which is told how long the person has been waited for; never raises
        either. A clock that stands, runs back or says nothing is the guard's to name; here it is
        one control period further."""
        self._wait(whole_ns(t_ns))
        given = {**as_dict(signals), self._signal: min((self._waited_ns or 0) / 1e9, MOST_S)}
        proved = () if authenticated is None else (authenticated,)
        decision = self._decide(given, t_ns, *proved)
        stops = decision.mode >= Mode.SAFE_STOP  # then the demand is over, whoever comes
        if not decision.operator_request or not decision.active or stops:
            self._waited_ns = None
        elif self._waited_ns is None:
            self._waited_ns = 0
            self._call(decision)
        return decision

    def _wait(self, stamp_ns: int | None) -> None:
        before_ns = self._now_ns
        self._now_ns = before_ns + self._period_ns if stamp_ns is None else stamp_ns
        gone_ns = self._now_ns - before_ns
        if self._waited_ns is not None:
            self._waited_ns += gone_ns if gone_ns > 0 else self._period_ns

    def accept(self) -> None:
        """The person drives: see `Guard.takeover`."""
        self._takeover()

    def _call(self, decision: Decision) -> None:
        try:
            self._ask(decision)
        except Exception as error:  # the caller's own: the deadline runs all the same
            _log.error("asking a person: %s: %s", type(error).__name__, error)
