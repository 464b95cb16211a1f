# SPDX-License-Identifier: Apache-2.0
"""Rule-based controllers: what drives when the models may not.

A controller is made once from the numbers of its table in ``guard.toml`` and then asked on every
tick, also while the models drive, so that its loss is noticed before it is needed (F27).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from time import perf_counter_ns
from typing import Any, Protocol

from edgeguard.errors import ConfigError, in_words


class Controller(Protocol):
    """The rule of one channel."""

    def __call__(self, signals: Mapping[str, float], last: float, t_ns: int) -> float:
        """Return the command for this tick, in the channel's unit.

        signals are those given to ``Guard.decide``, read-only and the same for all controllers. A
        declared one that is no finite number within its range is missing; what is undeclared is as
        it was given, whatever that is. last is the channel's last command. Raising, returning NaN
        or taking longer than ``controller.budget_ms`` is CONTROLLER_LOST.
        """


def slow_and_hold(floor: float = 0.0) -> Controller:
    """Slow down to ``floor`` as fast as the envelope lets it, never speed up or turn round.

    Backwards likewise: a vehicle that reverses faster than ``floor`` slows down to that.
    """
    most = abs(floor)

    def rule(signals: Mapping[str, float], last: float, t_ns: int) -> float:
        return min(max(last, -most), most)

    return rule


def constant(value: float = 0.0) -> Controller:
    """Always the same command, for instance the label that means: ask a person."""

    def rule(signals: Mapping[str, float], last: float, t_ns: int) -> float:
        return value

    return rule


def follow(signal: str) -> Controller:
    """Whatever this signal says: the rule runs elsewhere and hands its command in. While it says
    nothing valid the rule is lost."""

    def rule(signals: Mapping[str, float], last: float, t_ns: int) -> float:
        return signals[signal]

    return rule


BUILT_IN: dict[str, Callable[..., Controller]] = {
    "slow_and_hold": slow_and_hold,
    "constant": constant,
    "follow": follow,
}


_SOUGHT = (
    ", out of PYTHONPATH (`edgeguard run` also looks in the working directory, then beside"
    " guard.toml)"
)


def make_controller(name: str, parameters: Mapping[str, Any], where: str = "") -> Controller:
    """A built-in controller, or ``module:attribute`` of your own, made with these parameters.

    where: what stands before a complaint, its file and key. Raises ConfigError when there is none
    of that name or making it raises, whatever that is: your own module may do anything.
    """
    factory = BUILT_IN.get(name)
    try:
        if factory is None:
            module, _, attribute = name.partition(":")
            factory = getattr(importlib.import_module(module), attribute)
        made = factory(**parameters)
        if not callable(made):
            raise TypeError(f"made {made!r:.60}, which cannot be called")
        return made
    except (Exception, SystemExit) as error:
        known = ", ".join(BUILT_IN)
        where_sought = _SOUGHT if isinstance(error, ModuleNotFoundError) else ""
        raise ConfigError(
            f"{where}controller {name!r}: {in_words(error)}; want one of"
            f" {known}, or your own as module:attribute{where_sought}"
        ) from error


class Shadow:
    """All rule-based controllers of a guard, run on every tick."""

    def __init__(self, controllers: Mapping[str, Controller]) -> None:
        """controllers: one per channel name."""
        self._controllers = tuple(controllers.items())
        self.failure: str | None = None
        """Why the last run gave nothing, in words; None when it did."""

    def run(
        self, signals: Any, last: Mapping[str, float], t_ns: int
    ) -> tuple[dict[str, float] | None, int]:
        """Return the commands per channel, or None, and the nanoseconds that it took."""
        started_ns = perf_counter_ns()
        rule: dict[str, float] = {}
        try:
            for name, controller in self._controllers:
                rule[name] = controller(signals, last[name], t_ns)
            self.failure = None
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit among them: whatever it does, the rule is lost
            self.failure = in_words(error)
            return None, perf_counter_ns() - started_ns
        return rule, perf_counter_ns() - started_ns
