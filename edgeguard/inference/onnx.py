# SPDX-License-Identifier: Apache-2.0
"""A model on ONNX Runtime, bound to numpy memory once: no copy, no allocation per run."""

from __future__ import annotations

import importlib
import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeguard.card import Card
from edgeguard.errors import InferenceError, ModelRefused
from edgeguard.inference.buffers import Array, embedding_for, fits, input_for, scores_for
from edgeguard.inference.onnx_graph import read_onnx
from edgeguard.inference.quantization import UNKNOWN, TensorSpec, agree
from edgeguard.inference.refusal import first_line

CPU = "CPUExecutionProvider"
_SILENT = 4  # only fatal: what goes wrong is raised, not printed
_OPTIONS = {"session.intra_op.allow_spinning": "0", "session.inter_op.allow_spinning": "0"}


class OnnxModel:
    """A model on ONNX Runtime, one thread, sequential, not spinning. See ``model.Model``."""

    def __init__(self, card: Card, data: bytes, where: str, providers: Sequence[str] = ()) -> None:
        """Open a model from the bytes whose hash was checked; see ``model.open_model``."""
        spec = read_onnx(data, where)
        scores, embedding = agree(card, spec, where)
        runtime = _import(where)
        self.card, self.step = card, scores.scale
        self.path = where
        self._session = _session(runtime, data, where, tuple(providers) or (CPU,))
        self.provider = str(self._session.get_providers()[0])
        # The runtime copies a bound CPU input to another device when it is bound, not when it runs.
        self._rebinds = self.provider != CPU
        self._input_name = spec.inputs[0].name
        self.input, self.scores, self.embedding = (
            input_for(card),
            scores_for(card),
            embedding_for(card),
        )
        self._binding = self._session.io_binding()
        tensors = [scores] + ([embedding] if embedding else [])
        self._shapes = _output_shapes(self._session, self._input_name, tensors, self.input)
        _fit_their_buffers(card, tensors, self._shapes, where)
        self._names = [t.name for t in tensors]
        self.bind_input(self.input)
        self.bind_scores(self.scores)
        if self.embedding is not None:
            self._bind_output(1, self.embedding)

    def bind_input(self, array: Array) -> None:
        """Read the input from ``array`` from now on; models with one input spec can share it."""
        self.input = fits(array, self.input, "input", written=False)
        self._binding.bind_input(
            self._input_name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data
        )

    def bind_scores(self, array: Array) -> None:
        """Write the scores to ``array`` from now on."""
        self.scores = fits(array, self.scores, "scores")
        self._bind_output(0, array)

    def _bind_output(self, index: int, array: Array) -> None:
        self._binding.bind_output(
            self._names[index], "cpu", 0, array.dtype.type, self._shapes[index], array.ctypes.data
        )

    def run(self) -> None:
        """Run once, from ``input`` to ``scores`` and ``embedding``. Raises InferenceError."""
        try:
            if self._rebinds:
                self.bind_input(self.input)
            self._session.run_with_iobinding(self._binding)
        except Exception as error:
            raise InferenceError(f"{self.path}: {first_line(error)}") from None

    def close(self) -> None:
        """Release the session; the model cannot run afterwards."""
        self._binding = self._session = None


def _import(where: str) -> Any:
    try:
        return importlib.import_module("onnxruntime")
    except ImportError as error:
        raise ModelRefused(
            f"{where}: needs onnxruntime ({error}): pip install 'edgeguard-monitor[onnx]'"
        ) from None


def _session(runtime: Any, data: bytes, where: str, wanted: tuple[str, ...]) -> Any:
    """A session that runs on the providers that were asked for, or ModelRefused (fault F08)."""
    offered = runtime.get_available_providers()
    for name in wanted:
        if name not in offered:
            raise ModelRefused(
                f"{where}: provider {name} was requested, onnxruntime {runtime.__version__} "
                f"offers {', '.join(offered)}: install the build that has it, or request {CPU}"
            )
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = runtime.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = _SILENT
    extra = {}
    if wanted[0] != CPU:
        extra["session.record_ep_graph_assignment_info"] = "1"
    if CPU not in wanted:
        extra["session.disable_cpu_ep_fallback"] = "1"
    for key, value in {**_OPTIONS, **extra}.items():
        options.add_session_config_entry(key, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            session = runtime.InferenceSession(data, options, providers=list(wanted))
    except Exception as error:
        if "fallback to CPU EP" in str(error):
            raise _unused(
                where, wanted[0], "some of the model's nodes can only run on the CPU"
            ) from None
        raise
    session.disable_fallback()
    running = session.get_providers()
    if running[0] != wanted[0]:
        raise _unused(where, wanted[0], f"the runtime runs it on {', '.join(running)}")
    if wanted[0] != CPU and not _runs_nodes(session, wanted[0]):
        raise _unused(where, wanted[0], "the runtime gave it no node of the model")
    return session


def _runs_nodes(session: Any, provider: str) -> bool:
    """Whether any node was assigned to the provider; a runtime that cannot tell is believed."""
    report = getattr(session, "get_provider_graph_assignment_info", None)
    return report is None or any(part.ep_name == provider for part in report())


def _unused(where: str, wanted: str, why: str) -> ModelRefused:
    return ModelRefused(
        f"{where}: provider {wanted} was requested and is not what runs: {why}; "
        f"check the accelerator and its driver, or request {CPU} (first, or after it for the rest)"
    )


def _output_shapes(
    session: Any, input_name: str, tensors: list[TensorSpec], sample: Array
) -> list[tuple[int, ...]]:
    """Concrete output shapes; a file that leaves them open is run once to learn them."""
    shapes = [t.shape for t in tensors]
    if any(UNKNOWN in shape[1:] or not shape for shape in shapes):
        made = session.run([t.name for t in tensors], {input_name: np.zeros_like(sample)})
        return [tuple(m.shape) for m in made]
    return [tuple(1 if d == UNKNOWN else d for d in shape) for shape in shapes]


def _fit_their_buffers(
    card: Card, tensors: list[TensorSpec], shapes: list[tuple[int, ...]], where: str
) -> None:
    """The runtime writes through a bare address: as many values as the card says, and no more."""
    said = [card.scores] + ([card.embedding] if card.embedding else [])
    for output, tensor, shape in zip(said, tensors, shapes, strict=True):
        if math.prod(shape) != output.size:
            raise ModelRefused(
                f"{where}: output {tensor.name!r} gives {math.prod(shape)} values {list(shape)}, "
                f"the card says {output.size}; a card needs a label for each score"
            )
