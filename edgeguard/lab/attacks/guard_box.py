# SPDX-License-Identifier: Apache-2.0
"""The real guard as a black box: a picture goes in, what the guard then commands comes out.

Nothing of the decision is written again here: `Guard.observe` and `Guard.decide` run, on a
simulated clock. Before each picture the guard is brought to a known state by a clean prefix: rules
left, causes let go, the command where the prefix' sign put it. A picture raised the command when
that moves up on its ticks, whatever else is present: causes of NOMINAL and DEGRADED leave it to the
models. One counts as accepted when no other cause is present (debounce off). Where an operation
asks for several frames in a row the picture stays for as many, as a sticker would: each differs in
the last bits of its middle, or the camera would count as frozen. A guard that remembers what it was
shown begins anew for each picture: its history is the clean prefix. Models run once on each picture
of that prefix, which is shown over and over (`remembered`).
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import attrs
import numpy as np
from attrs import frozen

from edgeguard import Guard, Mode
from edgeguard.config import GuardConfig, load
from edgeguard.decision import Decision
from edgeguard.errors import EdgeguardError
from edgeguard.lab.attacks import steady
from edgeguard.lab.attacks.remembered import Answers, Remembered, remember
from edgeguard.lab.attacks.victim import U8, Ints

MS = 1_000_000
KEPT = 4  # frames that the core remembers: a picture that is among them again is a frozen camera
SETTLED_NS = 1_200_000_000  # a member's first answer is a change for the second that follows
NEVER_MS = 1e6  # nothing takes so long
PATIENCE = 400  # frames until the guard must be back where the prefix puts it
NOT_OF_THE_PICTURE = frozenset({"UNSIGNED_BUNDLE"})


@frozen
class Verdict:
    """What the guard did with one picture."""

    step: float
    """By how much the command moved on its ticks, in the channel's unit; above 0: raised."""
    causes: tuple[str, ...]
    """Present on the last of them, without those that leave the command to the models (`borne`)."""
    labels: tuple[int, ...]
    """What each member said."""

    @property
    def raised(self) -> bool:
        """A command above the one in force was accepted."""
        return self.step > 0

    @property
    def accepted(self) -> bool:
        """Nothing was against it, whatever it was."""
        return not self.causes


def borne(config: GuardConfig) -> frozenset[str]:
    """Causes under which the models go on commanding: those noted, and those that only tighten."""
    return _up_to(config, "NOMINAL", "DEGRADED")


def _up_to(config: GuardConfig, *severities: str) -> frozenset[str]:
    return frozenset(name for name, row in config.causes.items() if row.severity in severities)


def at_leisure(config: GuardConfig) -> GuardConfig:
    """The same guard with its members in this process: the same files and decisions, quicker. How
    long a model or the rule takes here, on a busy machine, is no part of a verdict."""
    members = {
        name: attrs.evolve(member, isolation="none", process=None, deadline_ms=NEVER_MS)
        for name, member in config.members.items()
    }
    controller = attrs.evolve(config.controller, budget_ms=NEVER_MS)
    return attrs.evolve(config, members=members, controller=controller)


class GuardBox:
    """An armed guard with one label channel and one camera. Close it, or use it in a `with`."""

    def __init__(self, policy: str | Path, prefix: U8, command: float) -> None:
        """prefix: pictures uint8 [N, C, H, W] RGB of one sign that the guard accepts, which sets
        the command in force; they are shown in turn, so that none repeats.

        Raises EdgeguardError when the guard does not come to rest on them.
        """
        self.config = at_leisure(load(policy))
        self._channel = next(name for name, c in self.config.channels.items() if c.kind == "label")
        self._camera = next(iter(self.config.cameras))
        spec = self.config.cameras[self._camera].frame
        channel = self.config.channels[self._channel]
        self._stays = max(demand.frames for demand in channel.demands.values())
        self._bgr = spec is None or spec.format == "BGR"
        self._prefix = prefix
        self._period_ns = round(self.config.guard.period_ms * MS)
        self._frame_ns = round(1e9 / (self.config.cameras[self._camera].rate_hz or 10))
        held = steady.signals(self.config, self._channel, command)
        self._wrong = steady.broken(self.config, held, {self._channel: command})
        tagged = {name for name, signal in self.config.signals.items() if signal.authenticated}
        self._proved = {name: value for name, value in held.items() if name in tagged} or None
        self._signals = {**held, "engaged": 1.0}
        self._remembers = any(d.kind == "history" for d in self.config.detectors.values())
        self._fewest = SETTLED_NS // self._frame_ns if self._remembers else KEPT
        self._borne = NOT_OF_THE_PICTURE | borne(self.config)
        self._noted = NOT_OF_THE_PICTURE | _up_to(self.config, "NOMINAL")
        self._now = 1_000_000_000
        self._kept: dict[str, Answers] = {}
        self._begin()
        self.queries = 0
        self._rest()

    def _begin(self) -> None:
        self._guard, self._shown = Guard(self.config), 0
        self._guard.arm()
        self._models: list[Remembered] = remember(self._guard.members, self._kept)

    def __enter__(self) -> GuardBox:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the members."""
        self._guard.close()

    def ask(self, pixels: U8) -> list[Verdict]:
        """Show pictures uint8 [N, C, H, W], each from rest; one query each."""
        return [self._ask(picture) for picture in pixels]

    def _ask(self, picture: U8) -> Verdict:
        if self._remembers:
            self._guard.close()
            self._begin()
        self._rest()
        before = self._command
        self.queries += 1
        decision = self._tick(picture)
        for again in range(1, self._stays):
            self._wait()
            decision = self._tick(_as_if_taken_again(picture, again))
        said = [self._guard.evidence(name)["label"] for name in self.config.members]
        causes = tuple(c for c in decision.present if c not in self._borne)
        return Verdict(self._command - before, causes, tuple(int(s) for s in said))

    def _rest(self) -> None:
        """Clean pictures until the guard is at rest. A risk level may take longer to forget what it
        was shown than anybody waits: then the guard begins anew."""
        if self._settled() is None:
            return
        self._guard.close()
        self._begin()
        restless = self._settled()
        if restless is not None:
            raise restless

    def _settled(self) -> EdgeguardError | None:
        """Clean pictures until the command stands still in NOMINAL and no cause is present that
        is more than noted; why that does not come about."""
        still, causes = 0, Counter[str]()
        for shown in range(PATIENCE):
            before = getattr(self, "_command", None)
            decision = self._frame()
            present = set(decision.present) - self._noted
            causes.update(present)
            quiet = decision.mode == Mode.NOMINAL and not present
            still = still + 1 if quiet and before == self._command else 0
            if still >= 2 and shown >= self._fewest:
                return None
        return self._restless(decision, causes)

    def _restless(self, decision: Decision, causes: Counter[str]) -> EdgeguardError:
        """Why there is no rest."""
        said = ", ".join(f"{cause} ({count} of {PATIENCE} frames)" for cause, count
                         in causes.most_common()) or "no cause"  # fmt: skip
        held = ", ".join(f"{name} = {self._signals[name]:g}" for name in self.config.signals)
        wrong = "".join(f"; detector.{name} trips at these values" for name in self._wrong)
        return EdgeguardError(
            f"{self.config.source}: the guard does not rest on {len(self._prefix)} clean pictures, "
            f"so nothing can be judged: {decision.mode.name}, {said}; signals: {held or 'none'}"
            f"{wrong}; give pictures that it accepts with --data, or change what trips"
        )

    def _frame(self) -> Decision:
        """One clean frame and the ticks until the next."""
        picture = self._prefix[self._shown % len(self._prefix)]
        self._shown += 1
        for model in self._models:
            model.learning = True
        decision = self._tick(picture)
        for model in self._models:
            model.learning = False
        return self._wait() or decision

    def _wait(self) -> Decision | None:
        """The ticks until the next frame; the last of them, if there is one."""
        decision = None
        for _ in range(self._frame_ns // self._period_ns - 1):
            decision = self._tick(None)
        return decision

    def _tick(self, picture: U8 | None) -> Decision:
        if picture is not None:
            rgb = picture.transpose(1, 2, 0)
            frame = np.ascontiguousarray(rgb[:, :, ::-1] if self._bgr else rgb)
            self._guard.observe(self._camera, frame, self._now)
        self._now += self._period_ns
        decision = self._guard.decide(self._signals, self._now, self._proved)
        self._command = decision.command[self._channel]
        return decision


def _as_if_taken_again(picture: U8, time: int) -> U8:
    """The same but for the last two bits of its middle [C, H, W], otherwise each time: wide enough
    that a member which looks at a part of the picture, or at every eighth pixel, reads some."""
    taken = picture.copy()
    rows, columns = (
        slice(n // 2 - max(1, n // 16), n // 2 + max(1, n // 16)) for n in taken.shape[1:]
    )
    taken[0, rows, columns] ^= time
    return taken


def raised(verdicts: list[Verdict]) -> Ints:
    """1 where a higher command was accepted, else 0, [N]."""
    return np.array([int(v.raised) for v in verdicts], np.int64)
