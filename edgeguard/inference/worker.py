# SPDX-License-Identifier: Apache-2.0
"""The program of a worker: confines itself, loads its members' models, proves and runs them.

It says in lines of JSON ``{"opens": member}`` before each model, in their order, then
``{"providers": {member: ...}, "missing": [...]}`` or ``{"refused": reason}``, and
``{"failed": reason}`` before it ends because a runtime failed; both with ``denied``: whether it
tried what its confinement refuses. After that all goes through memory: a tick of ``wake``, then
each lane of its frames tells which slot its member is to read; the answer is written to the
member's own memory, and ``done`` ticks.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import select
import time
from pathlib import Path
from typing import Any

from edgeguard import sandbox
from edgeguard.card import Card
from edgeguard.errors import EdgeguardError, InferenceError
from edgeguard.inference.memory import Answers, Frames
from edgeguard.inference.model import Model, load_model

_HOST = frozenset({"CPUExecutionProvider", "CPU", "XNNPACK"})


def main(options: dict[str, Any]) -> int:
    """Run a worker. ``options``: the descriptors ``mouth``, ``wake``, ``done`` and ``spec``."""
    mouth = options["mouth"]
    with os.fdopen(options["spec"], "rb") as file:
        file.seek(0)
        spec = json.load(file)
    sandbox.call_itself("+".join(m["name"] for m in spec["members"]))
    need = sandbox.Need(())
    try:
        cards = [Card.from_dict(m["card"], Path(m["directory"])) for m in spec["members"]]
        need = _need(spec["members"], cards)
        missing = sandbox.confine(need)
        _import_runtimes(spec["members"], cards)
        missing += sandbox.limit(need)
        lanes = []
        for m, card in zip(spec["members"], cards, strict=True):
            _say(mouth, opens=m["name"])  # all that is known of a file that its parser dies of
            lanes.append(_Lane(m, card))
    except (EdgeguardError, PermissionError) as error:
        _say(mouth, refused=str(error)[:1000], denied=sandbox.denied(error, need))
        return 1
    sandbox.tighten(need)
    _say(mouth, providers={lane.name: lane.model.provider for lane in lanes}, missing=missing)
    try:
        _serve(lanes, spec["epoch"], options["wake"], options["done"])
    except (InferenceError, PermissionError) as error:  # the next worker is tested anew
        _say(mouth, failed=str(error)[:500], denied=sandbox.denied(error, need))
    return 1


class _Lane:
    """One member in the worker: its model between its frames and its answers."""

    def __init__(self, spec: dict[str, Any], card: Card) -> None:
        """Load and test the model. Raises ModelRefused."""
        self.name = spec["name"]
        self.model: Model = load_model(card, spec["model_path"], spec["runtime"], spec["providers"])
        shape = card.input.shape
        self._frames = Frames(spec["frames"], shape, card.input.dtype, spec["lanes"], mine=False)
        self._answers = Answers(spec["answers"], card, mine=True)
        self._lane = spec["lane"]
        self._bound = -1
        _, self._seen = self._frames.native.asked(self._lane, 0)  # what a former worker was asked

    def serve(self, epoch: int) -> bool:
        """Answer what the lane asks, if it is new. Raises InferenceError."""
        slot, serial = self._frames.native.asked(self._lane, self._seen)
        if slot < 0:
            return False
        self._seen = serial
        if slot != self._bound:
            self.model.bind_input(self._frames.slots[slot])
            self._bound = slot
        model = self.model
        model.run()
        self._answers.native.write(self._frames.native, slot, epoch, model.scores, model.embedding)
        return True


def _serve(lanes: list[_Lane], epoch: int, wake: int, done: int) -> None:
    waiting, clock = select.poll(), sandbox.Clock()
    waiting.register(wake, select.POLLIN)
    clock.answered(time.process_time())  # from here on it is the time of an answer that counts
    while True:
        while any([lane.serve(epoch) for lane in lanes]):  # all of them: no short cut
            # One tick for all: to wake a waiting driver is not cheap.
            with contextlib.suppress(BlockingIOError):
                os.eventfd_write(done, 1)
            clock.answered(time.process_time())
        waiting.poll()
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(wake)


def _need(members: list[dict[str, Any]], cards: list[Card]) -> sandbox.Need:
    files = [Path(m["model_path"]) for m in members]
    files += [c.directory / c.golden.file for c in cards if c.golden is not None]
    named = [p for m in members for p in m["providers"] if p not in _HOST]
    files += [Path(p).absolute() for p in named if "/" in p]
    return sandbox.Need(tuple(files), devices=bool(named))


def _import_runtimes(members: list[dict[str, Any]], cards: list[Card]) -> None:
    """Whatever can be imported before is; what is missing is refused when the model is opened."""
    for member, card in zip(members, cards, strict=True):
        runtime = member["runtime"] or card.runtime
        names = ["onnxruntime"] if runtime == "onnx" else ["ai_edge_litert", "tflite_runtime"]
        adapter = "onnx" if runtime == "onnx" else "litert"
        importlib.import_module(f"edgeguard.inference.{adapter}")
        for name in names:
            with contextlib.suppress(Exception):
                importlib.import_module(name if runtime == "onnx" else f"{name}.interpreter")


def _say(mouth: int, **what: Any) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        os.write(mouth, json.dumps(what).encode() + b"\n")
