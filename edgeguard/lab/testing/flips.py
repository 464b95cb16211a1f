# SPDX-License-Identifier: Apache-2.0
"""F09: one bit of a deployed model flips. How often does that command wrongly, with and without the
guard?

Bits are drawn uniformly over all bits of all constants of the file: weights, biases, scales, zero
points. A flip counts when any of 200 fixed held-out pictures then gives a wrong command (see
``wrong``) and the same picture without the flip a safe one: from the same command in force, where
the guard is asked. So a vote that comes down too little does not count where without the flip it
does not come down at all, and stays higher; nor does one that is lost. Without the guard the model
alone commands; with it the other members vote as they do, with the policy's quorums and
certainties; debounce is off. What the golden self-test would have caught is counted apart. Rates
with bits drawn like this: Porsia et al. 2025.
"""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.card import Card
from edgeguard.config import load, load_cards, model_path, policy_dict
from edgeguard.evidence.calibration import Member
from edgeguard.evidence.selective import Bools, Ints
from edgeguard.inference.golden import STEPS, load_golden
from edgeguard.intake.camera import Camera
from edgeguard.intake.preprocess import InputSpec
from edgeguard.lab.testing.constants import Constants, constants
from edgeguard.lab.testing.wrong import Rule
from edgeguard.streams.stream import load as load_stream
from edgeguard.zoo import models_dir

PICTURES = 200
LIMIT_S = 60  # of one flip
Array = npt.NDArray[Any]
Run = Callable[[Array], Array]
"""Inputs [N, ...] to raw scores [N, n]."""


@dataclass(frozen=True)
class Bench:
    """What every flip is held against."""

    inputs: dict[str, Array]
    """By member [N, ...], as fed to the model."""
    true: Ints
    """The sign on each picture [N]."""
    alone: dict[str, Ints]
    """The label [N] with the largest score of every member as it is."""
    said: dict[str, tuple[Ints, Ints]]
    """Label and certainty [N] of every member as it is, by the guard's evidence."""
    rule: Rule
    rows: dict[str, dict[str, Any]]
    cards: dict[str, Card]
    constants: dict[str, Constants]


@cache
def bench(policy: Path) -> Bench:
    """Pictures of the shipped stream: signs that no model was trained on, from far to near.

    Whatever the members say to them: a flip of one can only err through the vote where another errs
    by itself. Raises EdgeguardError.
    """
    config = load(policy)
    cards = load_cards(config)
    table = policy_dict(config, cards)
    rule = Rule.of(config, table)
    rows = {row["name"]: row for row in table["members"]}
    files = {name: model_path(config, name, card) for name, card in cards.items()}
    held = {name: constants(path.read_bytes(), path.suffix) for name, path in files.items()}
    inputs, true = _pictures(cards)
    scores = {name: runner(held[name].data, cards[name])(inputs[name]) for name in cards}
    return Bench(
        inputs=inputs,
        true=true,
        alone={name: _largest(found) for name, found in scores.items()},
        said={name: evidence(rows[name], found) for name, found in scores.items()},
        rule=rule,
        rows=rows,
        cards=cards,
        constants=held,
    )


def _pictures(cards: dict[str, Card]) -> tuple[dict[str, Array], Ints]:
    """Frames evenly over the stream, preprocessed as deployed; and their signs."""
    stream = load_stream(models_dir() / "stream.npz")
    specs = {name: InputSpec.of(card.input) for name, card in cards.items()}
    tensors = {spec: np.zeros(spec.shape, spec.dtype) for spec in set(specs.values())}
    camera = Camera(tensors, "BGR")
    found: dict[str, list[Array]] = {name: [] for name in cards}
    true = []
    for index in np.linspace(0, stream.frames - 1, PICTURES).astype(int).tolist():
        shot = stream.shot(index, 0)
        camera.look(shot.frame, shot.box)
        true.append(stream.labels[index // stream.per_track])
        for name, spec in specs.items():
            found[name].append(tensors[spec].copy())
    return {name: np.concatenate(x) for name, x in found.items()}, np.array(true)


def _largest(scores: Array) -> Ints:
    return np.asarray(scores.reshape(len(scores), -1).argmax(axis=1))


def evidence(row: dict[str, Any], scores: Array) -> tuple[Ints, Ints]:
    """Label (-1: abstains) and certainty Q0.16, as the deployed evidence kernel sees raw scores."""
    spec = row["scores"]
    limits = {key: row[key] for key in ("max_rail", "min_distinct", "sum_min", "sum_max")}
    member = Member(
        row["name"], scores, spec["kind"], spec["scale"], spec["zero_point"], limits=limits
    )
    found = member.evidence(spec["temperature"])
    return member.label(found).astype(np.int64), found["certainty"].astype(np.int64)


def runner(data: bytes, card: Card) -> Run:
    """A model file on its own runtime, one thread. Raises what the runtime raises."""
    return _onnx(data, card) if card.runtime == "onnx" else _tflite(data, card)


def _onnx(data: bytes, card: Card) -> Run:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    entry = session.get_inputs()[0]
    one = entry.shape[0] == 1

    def run(x: Array) -> Array:
        parts = np.split(x, len(x)) if one else [x]
        return np.concatenate([session.run([card.scores.name], {entry.name: p})[0] for p in parts])

    return run


def _tflite(data: bytes, card: Card) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    entry = interpreter.get_input_details()[0]["index"]
    outputs = {
        int(o["shape"][-1]): o["index"] for o in interpreter.get_output_details()
    }  # scores and embedding differ in size
    scores = outputs[card.scores.size]

    def run(x: Array) -> Array:
        found = []
        for one in np.split(x, len(x)):
            interpreter.set_tensor(entry, one)
            interpreter.invoke()
            found.append(interpreter.get_tensor(scores).copy())
        return np.concatenate(found)

    return run


# ------------------------------------------------------------------- one flip


def inject(policy: Path, member: str, index: int, seed: int) -> dict[str, Any]:
    """Flip one bit, the same every time, in a process of its own; a row as `Store` keeps it.

    w: wrong commands through the guard on some picture; n: through the model alone; s: what became
    of it: "" ran, "refused" by the runtime, "crashed", "golden" caught by the self-test.
    """
    held = bench(policy)
    where = Random(f"{seed}/F09/{member}/{index}").randrange(held.constants[member].bits)
    row = {"f": f"F09.{member}", "i": index, "w": 0, "t": None, "c": None, "x": 0, "n": 0}
    row["k"] = held.constants[member].name(where)
    row["s"], bare, guarded = _apart(lambda: judge(held, member, where))
    return row | {"n": int(bare), "w": int(guarded)}


def judge(held: Bench, member: str, where: int) -> tuple[str, bool, bool]:
    """What one flip does: (caught by, wrong alone, wrong through the guard). Raises ModelRefused
    when the golden file itself is broken: that is no finding about a flip."""
    card = held.cards[member]
    golden = load_golden(card)
    try:
        run = runner(held.constants[member].flipped(where), card)
        scores = run(held.inputs[member]).reshape(len(held.true), card.scores.size)
    except Exception:  # whatever a runtime says to a damaged file, or makes of it
        return "refused", False, False
    caught = "" if _passes(golden, card, run) else "golden"
    said = {**held.said, member: evidence(held.rows[member], scores)}
    bare = held.rule.above(_largest(scores), held.true) & ~clean_wrong(held)[member]
    return caught, bool(bare.any()), bool(through_guard(held, said).any())


def clean_wrong(held: Bench) -> dict[str, Bools]:
    """On which pictures [N] each member as it is commands wrongly alone, by name; "": the guard."""
    alone = {name: held.rule.above(label, held.true) for name, label in held.alone.items()}
    return {"": held.rule.wrong(*_ballots(held, held.said), held.true), **alone}


def through_guard(held: Bench, said: dict[str, tuple[Ints, Ints]]) -> Bools:
    """Where it takes a label above the sign, and took none, or one below it, from the same command
    in force: a raise that was none, or coming down too little where it came down enough."""
    rule, true = held.rule, held.true
    now, clean = _ballots(held, said), _ballots(held, held.said)
    raises = rule.raised(*now, true) & ~rule.raised(*clean, true)
    return raises | (rule.lowered(*now, true) & rule.obeyed(*clean, true))


def _ballots(held: Bench, said: dict[str, tuple[Ints, Ints]]) -> tuple[Ints, Ints]:
    label, certainty = (np.stack([said[name][k] for name in held.rows], axis=1) for k in (0, 1))
    return label, certainty


def _passes(golden: tuple[Array, Array], card: Card, run: Run) -> bool:
    inputs, wanted = golden
    try:
        got = run(inputs.reshape(-1, *card.input.shape[1:]))
        got = got.reshape(wanted.shape)  # a flip may change a shape, too
    except Exception:  # of the runtime, for so many pictures: a self-test that fails
        return False
    apart = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
    return bool((apart <= STEPS).all() and (got.argmax(-1) == wanted.argmax(-1)).all())


def _apart(work: Callable[[], tuple[str, bool, bool]]) -> tuple[str, bool, bool]:
    """In a child: a runtime may die of a damaged file, or never return. That member is lost, and
    abstains. An exception is a bug of ours, and is raised here."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(LIMIT_S)
        try:
            said = pickle.dumps(work())
        except BaseException as error:
            said = pickle.dumps(RuntimeError(repr(error)))
        os.write(write_end, said)
        os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        found = pipe.read()
    os.waitpid(child, 0)
    if not found:
        return "crashed", False, False
    result = pickle.loads(found)
    if isinstance(result, BaseException):
        raise result
    return result  # type: ignore[no-any-return]


def chunk(fault: str, indices: Sequence[int], seed: int, policy: Path) -> list[dict[str, Any]]:
    """Some flips of one member."""
    return [inject(policy, fault.removeprefix("F09."), i, seed) for i in indices]
