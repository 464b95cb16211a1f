# SPDX-License-Identifier: Apache-2.0
"""Parts for a donkeycar: the guard in its loop, before DriveMode, and a wrapper for its pilot.

V.add(Stamped(kl), inputs=inputs, outputs=[*outputs, "pilot/made"], run_condition="run_pilot")
...                                                     # stop sign, AiLaunch
guard = GuardPart("guard.toml")
V.add(guard, inputs=guard.inputs, outputs=guard.outputs)
V.add(DriveMode(...), ...)
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from math import nan
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.adapters.said import numbers
from edgeguard.config import GuardConfig
from edgeguard.decision import Decision
from edgeguard.errors import ConfigError
from edgeguard.guard import Guard

USER = "user"  # of "user/mode": a person drives
CHANNELS = ("angle", "throttle")

_log = logging.getLogger("edgeguard")


class Stamped:
    """A pilot whose answers say when they were made, and whose exceptions do not end the loop.

    What it gives goes into donkeycar's memory and stays there, whether or not it runs again; with
    the stamp, an answer of a minute ago is one.
    """

    def __init__(self, pilot: Any, answers: int = 2) -> None:
        """answers: how many the pilot gives; donkeycar's memory wants as many when it raises."""
        self._pilot, self._answers, self._failed = pilot, answers, False

    def run(self, *inputs: Any) -> tuple[Any, ...]:
        """What the pilot says, and a stamp of CLOCK_MONOTONIC in ns; when it raises, None for each
        of its answers, and the stamp."""
        made_ns = time.monotonic_ns()
        try:
            said = (*self._pilot.run(*inputs), made_ns)
        except Exception as error:  # the pilot is the user's: it may raise anything
            if not self._failed:
                _log.warning("pilot: %s: %s", type(error).__name__, error)
            self._failed = True
            return *[None] * self._answers, made_ns
        self._failed = False
        return said

    def shutdown(self) -> None:
        """Shut the pilot down, where it can be."""
        getattr(self._pilot, "shutdown", lambda: None)()


class GuardPart:
    """Takes angle and throttle of whoever wrote them last and gives those that the guard decides.

    It runs in every loop, also while a person drives: then its commands follow his.
    """

    _inputs = (
        "cam/image_array", "pilot/angle", "pilot/throttle", "pilot/made", "user/mode", "steering",
        "throttle",
    )  # fmt: skip
    _outputs = ("pilot/angle", "pilot/throttle", "guard/mode")

    def __init__(
        self,
        policy: str | Path,
        camera: str = "front",
        members: tuple[str, str] = CHANNELS,
        signals: Mapping[str, str] | None = None,
        at_end: Callable[[], object] | None = None,
        operator_token: str | None = None,
    ) -> None:
        """policy: with channels `angle` and `throttle`, external members for them, signals
        `angle` and `throttle` (what was last sent to the wheels) and [camera.front]; signals: more
        of them, each with its key in donkeycar's memory; at_end: called when the loop ends, since
        the shutdown of some actuators leaves the motor running; operator_token: with it
        `guard.rearm` ends SAFE_STOP. Arms. Raises ConfigError."""
        self.guard = Guard.load(policy, operator_token)
        _check(self.guard.config, camera, members)
        self.inputs = [*self._inputs, *(signals or {}).values()]
        self.outputs = list(self._outputs)
        self.decision: Decision | None = None
        self._camera, self._members, self._at_end = camera, members, at_end
        self._signals = tuple(signals or {})
        self._mode: Any = None
        self.guard.arm()

    def run(
        self, image: Any, angle: Any, throttle: Any, made_ns: Any, mode: Any, steering: Any,
        driven: Any, *more: Any,
    ) -> tuple[float, float, str]:  # fmt: skip
        """One control step. Never raises for what it is handed."""
        t_ns = time.monotonic_ns()
        # A person may give up the wheel first and the throttle later: whenever it changes who has
        # what, the commands begin anew where the actuators are.
        changes, self._mode = self._mode not in (None, mode), mode
        if isinstance(made_ns, int):
            for member, said in zip(self._members, (angle, throttle), strict=True):
                self.guard.suggest(member, _scores(said), made_ns, t_ns)
        signals = {
            "angle": _number(steering, 0.0),  # nothing was sent before the first loop
            "throttle": _number(driven, 0.0),
            "engaged": float(mode != USER and not changes),
            **{name: _number(value, nan) for name, value in zip(self._signals, more, strict=True)},
        }
        self.decision = self.guard.step(self._camera, image, signals, t_ns)
        command = self.decision.command
        return command["angle"], command["throttle"], self.decision.mode.name

    def shutdown(self) -> None:
        """The loop is over, whatever the reason."""
        try:
            if self._at_end is not None:
                self._at_end()
        finally:
            self.guard.close()


def _check(config: GuardConfig, camera: str, members: tuple[str, str]) -> None:
    """Raise ConfigError for what would raise in the vehicle's loop."""
    for kind, names, known in (
        ("channel", CHANNELS, config.channels), ("member", members, config.members),
        ("camera", (camera,), config.cameras),
    ):  # fmt: skip
        for name in names:
            if name not in known:
                raise ConfigError(
                    f"{config.source}: {kind}.{name}: is not there; donkeycar needs it"
                )
    for name in members:
        if config.members[name].runtime != "external":
            raise ConfigError(
                f'{config.source}: member.{name}.runtime: want "external": the pilot says it'
            )


def _scores(said: Any) -> Any:
    """An answer as scores float32 [1]; None is none. What is no number at all is NaN: insane."""
    return None if said is None else np.array([_number(said, nan)], np.float32)


def _number(value: Any, otherwise: float) -> float:
    """Keras pilots answer with arrays of one, those of PyTorch with tensors."""
    return otherwise if value is None else float(numbers(value, 1)[0])
