# SPDX-License-Identifier: Apache-2.0
"""Numbers of members' answers that no kernel computes: boxes of activations, and the history of
what a member was shown and said. The core compares them with their limits.

A number stands as long as its answer does. Of a member that has no answer that counts nothing is
said: other causes do.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from math import nan
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from edgeguard.card import Card
from edgeguard.card import Input as CardInput
from edgeguard.config import GuardConfig
from edgeguard.config.detector_rows import detector_rows
from edgeguard.config.fixed import ONE, us_floor, whole_ns
from edgeguard.config.vocabulary import BOXES
from edgeguard.decision import Core
from edgeguard.evidence.boxes import Boxes
from edgeguard.evidence.history import CELL, Changes, Glance, History

Array = npt.NDArray[Any]

UNANSWERED: Final = 16  # pictures that may wait for their answer
SIDE: Final = 32  # pixels across of what the history looks at, and less than twice as many


class Answer(NamedTuple):
    """What a member said of what was captured then, and the numbers of it."""

    captured_ns: int
    label: int
    numbers: dict[str, float]


class Listener:
    """Hears what one member says. ``shown`` is for the thread that observes, ``tick`` for the one
    that decides; answers come in either."""

    def __init__(
        self, core: Core, member: int, max_age_ns: int, card: Card, period_ns: int
    ) -> None:
        self._core, self._member, self._max_age_ns, self._card = core, member, max_age_ns, card
        self._period_ns = period_ns
        self._lock = threading.Lock()
        self._rows: list[tuple[int, str, float]] = []
        self._answers = deque[Answer](maxlen=UNANSWERED)  # since the last tick
        self._last: Answer | None = None
        self._ticked_ns: int | None = None
        self._changes = Changes()
        self._history: History | None = None
        self._seen: tuple[int, Glance] | None = None
        self._waiting = deque[tuple[int, Glance]](maxlen=UNANSWERED)
        self._boxes: tuple[Array, Boxes] | None = None

    def add(self, row: int, feature: str, silent: float) -> None:
        """A detector's row in the core's table; silent: a number within its limits."""
        self._rows.append((row, feature, silent))
        if feature in ("echoes", "flips") and self._history is None:
            self._history = History()

    @property
    def input(self) -> CardInput:
        """What the member looks at."""
        return self._card.input

    @property
    def looks(self) -> bool:
        """Whether it has to see what the member is shown."""
        return self._history is not None

    def bind(self, embedding: Array, boxes: Boxes) -> None:
        """Where the member leaves its embedding, and what was fitted to it."""
        self._boxes = embedding, boxes

    def shown(self, tensor: Array, t_ns: int) -> None:
        """The member is offered this tensor, captured at ``t_ns``."""
        if self._history is not None:
            self._seen = t_ns, self._history.look(picture(tensor, self._card.input))

    def asked(self) -> None:
        """It took what it was offered last: an answer will come. One that is busy takes nothing,
        and what it was offered meanwhile is not waited for."""
        if self._seen is not None:
            self._waiting.append(self._seen)

    def heard(self, t_ns: Any) -> None:
        """The core was just given its answer to what was captured at ``t_ns``. What it refuses, as
        late or out of order, says nothing here either: it would speak for the one that counts."""
        captured_ns = whole_ns(t_ns)
        if captured_ns is None or not self._core.took(self._member):
            return
        with self._lock:
            said = self._core.evidence(self._member)
            label = -1 if said["bad"] else int(said["label"])
            numbers: dict[str, float] = {}
            if self._boxes is not None:
                embedding, boxes = self._boxes
                numbers[BOXES] = boxes.outside(embedding, label)
            if self._history is not None:
                numbers["echoes"], numbers["flips"] = self._remember(
                    self._history, label, captured_ns
                )
            self._answers.append(Answer(captured_ns, label, numbers))

    def _remember(self, history: History, label: int, captured_ns: int) -> tuple[float, float]:
        """Pictures before this one that got no answer are forgotten. An answer to a picture that
        nobody saw has no number, which trips."""
        waiting = tuple(self._waiting)  # at once: whoever observes may add to it meanwhile
        if all(shown_ns != captured_ns for shown_ns, _ in waiting):
            return nan, nan
        shown_ns, glance = self._waiting.popleft()
        while shown_ns != captured_ns:
            shown_ns, glance = self._waiting.popleft()
        echoes, flips = history.note(glance, label)
        return float(echoes), float(flips)

    def tick(self, t_ns: Any) -> None:
        """Before each decision. Without a time the numbers grow too old, which the core does not
        take for good. Of several answers since the last decision each counts for what it was."""
        now_ns = whole_ns(t_ns)
        if now_ns is None:
            return
        if self._ticked_ns is not None and now_ns < self._ticked_ns:
            self._changes.begin_at(now_ns)
        self._ticked_ns = now_ns
        if not self._take(now_ns):
            self._give(now_ns)

    def _take(self, now_ns: int) -> bool:
        """Give the numbers of all answers that the core may take, if there are any. What is ahead
        of the clock it refuses, which it can tell only now; counted here, such an answer would
        hide what the others say."""
        took = False
        while self._answers:
            answer = self._answers.popleft()
            if answer.captured_ns > now_ns + self._period_ns:
                continue
            took, captured_ns = True, min(answer.captured_ns, now_ns)
            answer.numbers["changes"] = float(self._changes.said(answer.label, captured_ns))
            self._last = answer
            self._give(now_ns)
        return took

    def _give(self, now_ns: int) -> None:
        last = self._last
        counts = last is not None and now_ns - last.captured_ns <= self._max_age_ns
        numbers = last.numbers if last is not None and counts else {}
        for row, feature, silent in self._rows:
            self._core.measure(row, numbers.get(feature, silent), now_ns)


def picture(tensor: Array, card: CardInput) -> npt.NDArray[np.uint8]:
    """What a member is shown as a picture, uint8 [H, W, C]: the steps of an integer tensor, the
    pixels of a float one. Of large ones every so many-th pixel."""
    own = tensor.reshape(card.shape[1:])
    own = own if card.layout == "HWC" else own.transpose(1, 2, 0)
    step = max(1, min(own.shape[:2]) // SIDE)
    own = own[::step, ::step]
    height, width = (side - side % CELL for side in own.shape[:2])
    own = own[:height, :width]
    if card.dtype == "float32":
        channels = card.channels
        grey = 255.0 * (own * np.array(card.std[:channels]) + np.array(card.mean[:channels]))
        return np.asarray(np.nan_to_num(grey).clip(0, 255), np.uint8)
    steps = np.ascontiguousarray(own).view(np.uint8)
    return np.asarray(steps ^ np.uint8(0x80 if card.dtype == "int8" else 0))


def listeners(config: GuardConfig, cards: Mapping[str, Card], core: Core) -> dict[str, Listener]:
    """By member, of those that a detector of this kind looks at."""
    found: dict[str, Listener] = {}
    period_ns = 1000 * us_floor(config.guard.period_ms)
    for index, row in enumerate(detector_rows(config)):
        detector = config.detectors[row["name"]]
        if not detector.by_answer:
            continue
        name, feature = detector.member or "", detector.feature or ""
        if name not in found:
            max_age_ns = 1000 * us_floor(config.members[name].max_age_ms)
            member = list(config.members).index(name)
            found[name] = Listener(core, member, max_age_ns, cards[name], period_ns)
        found[name].add(index, feature, min(max(0, row["min"]), row["max"]) / ONE)
    return found
