# SPDX-License-Identifier: Apache-2.0
"""Golden vectors: inputs beside a card with the answers that the model must give at load."""

from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgeguard.card import Card, Golden
from edgeguard.errors import InferenceError, ModelRefused
from edgeguard.inference.buffers import Array

if TYPE_CHECKING:
    from edgeguard.inference.model import Model

STEPS = 2  # largest deviation of a score, in quantization steps of the output
FLOAT_SHARE = 1e-3  # the same for scores without a step: share of the span of the golden answer


def self_test(model: Model) -> None:
    """Run the card's golden inputs and compare.

    Every score within 2 output steps (without a step: within 1/1000 of the answer's span), the
    same top class, and every answer sane: no NaN or Inf, no probabilities outside [0, 1] or
    with a sum other than 1, no more scores at the upper rail than the card allows, no two-valued
    answers. Raises ModelRefused that names the model file and the reason.
    """
    card = model.card
    inputs, wanted = load_golden(card)
    got = answers(model, inputs)
    for index, (answer, want) in enumerate(zip(got, wanted, strict=True)):
        reason = insane(card, answer, model.step) or _deviates(model, answer, want)
        if reason:
            raise ModelRefused(f"{model.path}: golden input {index}: {reason}")
    reason = _two_valued(card, got)
    if reason:
        raise ModelRefused(f"{model.path}: {reason}")


def load_golden(card: Card) -> tuple[Array, Array]:
    """Read the golden file: ``x`` [N, ...] as fed to the model, ``scores`` [N, n] raw.

    Raises ModelRefused when the card names none, its hash differs or the arrays do not fit.
    """
    if card.golden is None:
        raise ModelRefused(
            f"{card.model_path}: its card has no golden vectors; `edgeguard init` writes those of a"
            " classifier, docs/card.md says how to write others"
        )
    path = card.directory / card.golden.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelRefused(
            f"{path}: golden vectors cannot be read: {error.strerror or error}"
        ) from None
    if hashlib.sha256(data).hexdigest() != card.golden.sha256:
        raise ModelRefused(
            f"{path}: golden vectors are not those of the card {card.name!r}: SHA-256 differs"
        )
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            inputs, scores = arrays["x"], arrays["scores"]
    except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ModelRefused(f"{path}: golden vectors cannot be read: {error}") from None
    for name, array, shape, dtype in (
        ("x", inputs, card.input.shape[1:], card.input.dtype),
        ("scores", scores, (card.scores.size,), card.scores.dtype),
    ):
        if array.shape[1:] != shape or array.dtype != dtype or not 0 < len(array) == len(inputs):
            got = f"{array.dtype} {array.shape}"
            raise ModelRefused(
                f"{path}: {name}: want {dtype} [N, {', '.join(map(str, shape))}], got {got}"
            )
    return inputs, scores


def record(model: Model, inputs: Array, path: str | Path) -> Golden:
    """Run the model on ``inputs`` [N, ...], write them with its answers; return the card's entry.

    Raises ModelRefused if an answer is insane by the card, for such a model would not load.
    """
    scores = answers(model, inputs)
    for index, answer in enumerate(scores):
        reason = insane(model.card, answer, model.step)
        if reason:
            raise ModelRefused(f"{model.path}: golden input {index}: {reason}")
    buffer = io.BytesIO()
    np.savez_compressed(buffer, x=inputs, scores=scores)
    Path(path).write_bytes(buffer.getvalue())
    return Golden(Path(path).name, hashlib.sha256(buffer.getvalue()).hexdigest(), len(inputs))


def answers(model: Model, inputs: Array) -> Array:
    """Raw scores [N, n] for inputs [N, ...] as fed to the model. Raises ModelRefused."""
    result = np.empty((len(inputs), *model.scores.shape), model.scores.dtype)
    for row, one in zip(result, inputs, strict=True):
        np.copyto(model.input, one[None])
        try:
            model.run()
        except InferenceError as error:
            raise ModelRefused(f"{model.path}: does not run: {error}") from None
        np.copyto(row, model.scores)
    return result


def insane(card: Card, answer: Array, step: float) -> str | None:
    """Why one answer cannot come from a sound model (fault F07), or None. ``answer`` [n] raw."""
    output = card.scores
    if output.dtype == "float32":
        bad = int(np.count_nonzero(~np.isfinite(answer)))
        if bad:
            return f"{bad} scores are NaN or Inf"
        real = answer.astype(np.float64)
    else:
        rail = int(np.count_nonzero(answer == np.iinfo(answer.dtype).max))
        if rail > card.rail_allowance:
            return f"saturated: {rail} scores at the upper rail, allowed {card.rail_allowance}"
        real = output.scale * (answer.astype(np.float64) - output.zero_point)
    if output.kind == "probabilities":
        return _bad_probabilities(real, step)
    if output.kind == "value" and card.value_range is not None:
        low, high = card.value_range
        if real.min() < low - step or real.max() > high + step:
            return f"{real.min():g} to {real.max():g} is outside the range {low:g} to {high:g}"
    distinct = len(np.unique(answer))
    if output.kind == "logits" and distinct < card.distinct_needed:
        return f"two-valued: {distinct} different scores, the card wants {card.distinct_needed}"
    return None


def _bad_probabilities(real: Array, step: float) -> str | None:
    slack = step + 1e-4
    if real.min() < -slack or real.max() > 1 + slack:
        return f"probabilities from {real.min():g} to {real.max():g}, outside [0, 1]"
    total, off = float(real.sum()), len(real) * step / 2 + 1e-2
    if abs(total - 1) > off:
        return f"probabilities sum to {total:g}, not to 1 within {off:.2g}"
    return None


def _two_valued(card: Card, got: Array) -> str | None:
    """Probabilities may be (1, 0, 0, ...) for a sure answer, but not in every golden answer."""
    if card.scores.kind != "probabilities" or card.scores.size < 3:
        return None
    needed = 3 if card.min_distinct is None else card.min_distinct
    if max(len(np.unique(answer)) for answer in got) >= needed:
        return None
    return f"all {len(got)} golden answers have fewer than {needed} different scores: two-valued"


def _deviates(model: Model, answer: Array, want: Array) -> str | None:
    """Why an answer is not the golden one, or None."""
    apart = np.abs(answer.astype(np.float64) - want.astype(np.float64))
    if answer.dtype != np.float32:
        limit, unit = float(STEPS), "steps"
    elif model.step > 0:
        limit, unit = STEPS * model.step * (1 + 1e-3), f"({STEPS} steps of {model.step:g})"
    else:
        span = float(want.max()) - float(want.min())
        limit, unit = FLOAT_SHARE * (span or abs(float(want.max()))) + 1e-6, "(1/1000 of the span)"
    worst = int(apart.argmax())
    if not apart[worst] <= limit:
        return f"score {worst} is {apart[worst]:g} off the golden one, allowed {limit:g} {unit}"
    if model.card.task == "classifier" and answer.argmax() != want.argmax():
        return f"top class {answer.argmax()}, the golden answer has {want.argmax()}"
    return None
