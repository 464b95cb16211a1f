# SPDX-License-Identifier: Apache-2.0
"""A gymnasium wrapper: the agent suggests an action, the guard decides which one the environment
gets. For any environment whose action is a Box of up to four floats. Needs the extra `drive`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium.utils import RecordConstructorArgs

from edgeguard.adapters.said import numbers
from edgeguard.config import GuardConfig, load
from edgeguard.errors import ConfigError
from edgeguard.guard import Guard
from edgeguard.loop.loop import ANSWER_S
from edgeguard.output.sinks import as_record

Signals = Callable[[gymnasium.Env[Any, Any], Any], Mapping[str, float]]
"""(environment, last observation) -> signals by name, the rule's own command among them."""
START_NS = 1_000_000_000


class GuardedEnv(gymnasium.Wrapper[Any, Any, Any, Any], RecordConstructorArgs):
    """Each step is one control period of guard.toml, on a simulated clock.

    The channels stand for the numbers of the action, in their order in guard.toml; each has one
    external member, which says what the agent wants. `info["guard"]` is the decision as
    `output.sinks.as_record` writes it and `info["action"]` the action that the environment got.
    Every episode has a guard of its own, armed in `reset`.
    """

    def __init__(
        self,
        env: gymnasium.Env[Any, Any],
        policy: str | Path,
        signals: Signals | None = None,
        camera: str | None = None,
    ) -> None:
        """signals: what the guard may know of the vehicle; camera: which [camera.NAME] the
        observation is a picture of, uint8 in its format. Raises ConfigError when guard.toml is
        wrong or does not fit the environment's action."""
        RecordConstructorArgs.__init__(self, policy=policy, signals=signals, camera=camera)
        gymnasium.Wrapper.__init__(self, env)
        self._policy, self.config = policy, load(policy)
        self._agents = _agents(self.config, env.action_space)
        if camera is not None and camera not in self.config.cameras:
            raise ConfigError(f"{self.config.source}: camera.{camera}: is not there")
        self._signals, self._camera = signals, camera
        self._period_ns = round(self.config.guard.period_ms * 1e6)
        self._t_ns = START_NS
        self._seen: Any = None
        self.guard = Guard(self.config)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """A new episode under a new guard. Raises ModelRefused when it cannot arm, ConfigError when
        the bundle is no longer there."""
        self._seen, info = self.env.reset(seed=seed, options=options)
        self.guard.close()
        if self.config.bundle is not None:  # its files are gone with the guard
            self.config = load(self._policy)
        self.guard, self._t_ns = Guard(self.config), START_NS
        self.guard.arm()
        return self._seen, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """One control period. An action that is none, or NaN, is insane and never reaches the
        environment. Raises ValueError or TypeError for an observation that is no picture of the
        camera, ResetNeeded before the first `reset`."""
        if self._seen is None:
            raise gymnasium.error.ResetNeeded("reset the environment before its first step")
        with np.errstate(over="ignore"):  # beyond float32 is infinite, and insane
            said = numbers(action, len(self._agents)).astype(np.float32)
        for member, value in zip(self._agents, said, strict=True):
            self.guard.suggest(member, value[None], self._t_ns, self._t_ns)
        signals = self._signals(self.env, self._seen) if self._signals else {}
        if self._camera is not None:
            self.guard.observe(self._camera, self._seen, self._t_ns)
            self.guard.wait(ANSWER_S)  # steps are faster than the clock; workers are not
        decision = self.guard.decide(signals, self._t_ns)
        record = as_record(decision, self._t_ns)
        self._t_ns += self._period_ns
        space = self.env.action_space
        given = np.array(list(decision.command.values()), space.dtype).reshape(space.shape or ())
        self._seen, reward, ended, cut, info = self.env.step(given)
        return self._seen, reward, ended, cut, {**info, "guard": record, "action": given}

    def close(self) -> None:
        """Free the environment and the guard."""
        self.guard.close()
        super().close()


def _agents(config: GuardConfig, space: gymnasium.Space[Any]) -> tuple[str, ...]:
    """The external member of each channel, once it is sure that they fit the action."""
    if not isinstance(space, gymnasium.spaces.Box):
        raise ConfigError(f"{config.source}: the environment's action is no Box: {space}")
    if not np.issubdtype(space.dtype, np.floating):
        raise ConfigError(
            f"{config.source}: the environment's action is a Box of {space.dtype}, and commands"
            " have fractions; want one of floats"
        )
    if len(config.channels) != np.prod(space.shape, dtype=int):
        raise ConfigError(
            f"{config.source}: channel: {len(config.channels)} of them for an action of"
            f" {np.prod(space.shape, dtype=int)} numbers; each number needs one, in their order"
        )
    found: list[str] = []
    ends = zip(space.low.flat, space.high.flat, strict=True)
    for (name, channel), (low, high) in zip(config.channels.items(), ends, strict=True):
        if channel.range.low < low or channel.range.high > high:
            raise ConfigError(
                f"{config.source}: channel.{name}.range: is [{channel.range.low:g},"
                f" {channel.range.high:g}]; the environment takes [{low:g}, {high:g}]"
            )
        agents = [
            member for member, row in config.members.items()
            if row.runtime == "external" and name in row.may_suggest.operations
        ]  # fmt: skip
        if len(agents) != 1 or agents[0] in found:
            raise ConfigError(
                f"{config.source}: channel.{name}: {', '.join(agents) or 'no external member'} may"
                " suggest it; want one of its own, which says what the agent wants"
            )
        found.append(agents[0])
    return tuple(found)
