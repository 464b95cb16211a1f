# SPDX-License-Identifier: Apache-2.0
"""F09: one bit of a deployed model flips. How often does that command wrongly, with and without the
guard?

Bits are drawn uniformly over all bits of all constants of the file: weights, biases, scales, zero
points. A flip counts when any of 200 fixed held-out pictures then gives a wrong command: a speed
target above what the true sign allows. Without the guard the model alone commands; with it the
other members vote as they do, with the policy's quorums and certainties; debounce is off. What the
golden self-test would have caught is counted apart. Rates with bits drawn like this: Porsia et al.
2025.
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
from edgeguard.config import GuardConfig, load, load_cards, model_path, policy_dict
from edgeguard.errors import EdgeguardError
from edgeguard.evidence.calibration import Member
from edgeguard.evidence.selective import vote
from edgeguard.inference.golden import STEPS, load_golden
from edgeguard.intake.camera import Camera
from edgeguard.intake.preprocess import InputSpec
from edgeguard.lab.testing.constants import Constants, constants
from edgeguard.lab.zoo.vote import Demand, demands
from edgeguard.streams.stream import load as load_stream
from edgeguard.zoo import models_dir

PICTURES = 200
LIMIT_S = 60  # of one flip
HOLDING = 50 / 3.6  # m/s in force where the true sign commands nothing
Array = npt.NDArray[Any]
Run = Callable[[Array], Array]
"""Inputs [N, ...] to raw scores [N, n]."""


@dataclass(frozen=True)
class Bench:
    """What every flip is held against."""

    inputs: dict[str, Array]
    """By member [N, ...], as fed to the model."""
    target: npt.NDArray[np.float64]
    """What the true sign allows [N], m/s."""
    value: npt.NDArray[np.float64]
    """What a label commands [labels], m/s; NaN: nothing."""
    said: dict[str, tuple[Array, Array]]
    """Label and certainty [N] of every member as it is."""
    demand: Demand
    """What raising asks for."""
    rows: dict[str, dict[str, Any]]
    cards: dict[str, Card]
    constants: dict[str, Constants]


@cache
def bench(policy: Path) -> Bench:
    """The shipped stream's clean pictures: signs that no model was trained on.

    Only pictures count that every member gets right and the guard accepts: elsewhere a flip could
    not be told from what was wrong before.
    """
    config = load(policy)
    cards = load_cards(config)
    table = policy_dict(config, cards)
    rows = {row["name"]: row for row in table["members"]}
    files = {name: model_path(config, name, card) for name, card in cards.items()}
    held = {name: constants(path.read_bytes(), path.suffix) for name, path in files.items()}
    inputs, true = _pictures(cards)
    values = _values(config, table)
    said = {
        name: evidence(rows[name], runner(held[name].data, cards[name])(inputs[name]))
        for name in cards
    }
    good = np.all([label == true for label, _ in said.values()], axis=0)
    good &= _accepted(demands(config, table)["lower"], said, rows)
    right = np.flatnonzero(good)
    if len(right) < PICTURES:
        raise EdgeguardError(
            f"only {len(right)} pictures are right before any flip; want {PICTURES}"
        )
    chosen = right[np.linspace(0, len(right) - 1, PICTURES).astype(int)]
    allowed = np.where(np.isnan(values[true]), HOLDING, values[true])
    return Bench(
        inputs={name: x[chosen] for name, x in inputs.items()},
        target=allowed[chosen],
        value=values,
        said={name: (label[chosen], sure[chosen]) for name, (label, sure) in said.items()},
        demand=demands(config, table)["raise"],
        rows=rows,
        cards=cards,
        constants=held,
    )


def _accepted(demand: Demand, said: dict[str, tuple[Array, Array]], rows: dict[str, Any]) -> Array:
    """Pictures whose answer the vote takes as it is."""
    labels = np.stack([said[name][0] for name in rows], axis=1).astype(np.int64)
    certainty = np.stack([said[name][1] for name in rows], axis=1).astype(np.int64)
    return np.asarray(
        vote(labels, certainty, demand.granted, demand.quorum).level >= demand.certainty
    )


def _values(config: GuardConfig, table: dict[str, Any]) -> npt.NDArray[np.float64]:
    """What each label commands on the channel of labels."""
    channel = next(i for i, c in enumerate(config.channels.values()) if c.kind == "label")
    return np.array(
        [row["value"] / 65536 if row["channel"] == channel else np.nan for row in table["labels"]]
    )


def _pictures(cards: dict[str, Card]) -> tuple[dict[str, Array], Array]:
    """The nearest frames of every track, preprocessed as deployed."""
    stream = load_stream(models_dir() / "stream.npz")
    first = stream.per_track - 2 * PICTURES // len(stream.tracks)
    specs = {name: InputSpec.of(card.input) for name, card in cards.items()}
    tensors = {spec: np.zeros(spec.shape, spec.dtype) for spec in set(specs.values())}
    camera = Camera(tensors, "BGR")
    found: dict[str, list[Array]] = {name: [] for name in cards}
    true = []
    for index in range(stream.frames):
        number, step = divmod(index, stream.per_track)
        if step < first:
            continue
        shot = stream.shot(index, 0)
        camera.look(shot.frame, shot.box)
        true.append(stream.labels[number])
        for name, spec in specs.items():
            found[name].append(tensors[spec].copy())
    return {name: np.concatenate(x) for name, x in found.items()}, np.array(true)


def evidence(row: dict[str, Any], scores: Array) -> tuple[Array, Array]:
    """Label (-1: abstains) and certainty Q0.16, as the deployed evidence kernel sees raw scores."""
    spec = row["scores"]
    limits = {key: row[key] for key in ("max_rail", "min_distinct", "sum_min", "sum_max")}
    member = Member(
        row["name"], scores, spec["kind"], spec["scale"], spec["zero_point"], limits=limits
    )
    found = member.evidence(spec["temperature"])
    return member.label(found), found["certainty"].astype(np.int64)


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
    """What one flip does: (caught by, wrong alone, wrong through the guard)."""
    card = held.cards[member]
    try:
        run = runner(held.constants[member].flipped(where), card)
        scores = run(held.inputs[member])
        caught = "" if _passes_golden(card, run) else "golden"
    except Exception:  # whatever a runtime says to a damaged file
        return "refused", False, False
    label, sure = evidence(held.rows[member], scores)
    alone = scores.reshape(len(scores), -1).argmax(axis=1)
    return caught, _raises(held, alone), _through_guard(held, member, label, sure)


def _raises(held: Bench, label: Array, accepted: Array | None = None) -> bool:
    with np.errstate(invalid="ignore"):
        wrong = (label >= 0) & (held.value[label] > held.target + 1e-3)
    return bool((wrong if accepted is None else wrong & accepted).any())


def _through_guard(held: Bench, member: str, label: Array, sure: Array) -> bool:
    said = {**held.said, member: (label, sure)}
    labels = np.stack([said[name][0] for name in held.rows], axis=1).astype(np.int64)
    certainty = np.stack([said[name][1] for name in held.rows], axis=1).astype(np.int64)
    votes = vote(labels, certainty, held.demand.granted, held.demand.quorum)
    return _raises(held, votes.winner, votes.level >= held.demand.certainty)


def _passes_golden(card: Card, run: Run) -> bool:
    inputs, wanted = load_golden(card)
    got = run(inputs.reshape(-1, *card.input.shape[1:])).reshape(wanted.shape)
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
