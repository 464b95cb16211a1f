# SPDX-License-Identifier: Apache-2.0
"""A model on LiteRT (ai-edge-litert), or on tflite-runtime 2.14 by the same adapter.

The interpreter owns its tensors: one copy in and one copy out are forced, for it refuses to run
while anything refers to its memory.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgeguard.card import Card
from edgeguard.errors import InferenceError, ModelRefused
from edgeguard.inference.buffers import Array, embedding_for, fits, input_for, scores_for
from edgeguard.inference.quantization import UNKNOWN, FileSpec, TensorSpec, agree
from edgeguard.inference.refusal import first_line

CPU, XNNPACK = "CPU", "XNNPACK"
_BUILT_IN = (CPU, XNNPACK)


class LiteRtModel:
    """A TFLite model on one thread. See ``model.Model``.

    ``provider`` is XNNPACK or CPU, or the delegate library that was requested. Requesting CPU
    keeps XNNPACK off.
    """

    def __init__(
        self,
        card: Card,
        data: bytes,
        where: str,
        providers: Sequence[str] = (),
        flavour: str = "litert",
    ) -> None:
        """Open a model from the bytes whose hash was checked; see ``model.open_model``."""
        runtime = _import(where, flavour)
        self.card, self.path = card, where
        self._interpreter, delegated = _interpreter(runtime, data, where, tuple(providers))
        details = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        spec = _spec(details[0], details[1], where)
        scores, embedding = agree(card, spec, where)
        self._input = int(details[0][0]["index"])
        index_of = {d["name"]: int(d["index"]) for d in details[1]}
        self.step = scores.scale
        self.input, self.scores, self.embedding = (
            input_for(card),
            scores_for(card),
            embedding_for(card),
        )
        if tuple(details[0][0]["shape"]) != card.input.shape:
            self._interpreter.resize_tensor_input(self._input, card.input.shape)
        self._interpreter.allocate_tensors()
        self.provider = _running(self._interpreter, where, tuple(providers), delegated)
        self._read_scores = self._interpreter.tensor(index_of[scores.name])
        self._read_embedding = (
            self._interpreter.tensor(index_of[embedding.name]) if embedding else None
        )

    def bind_input(self, array: Array) -> None:
        """Copy the input from ``array`` from now on; models with one input spec can share it."""
        self.input = fits(array, self.input, "input", written=False)

    def bind_scores(self, array: Array) -> None:
        """Copy the scores to ``array`` from now on."""
        self.scores = fits(array, self.scores, "scores")

    def run(self) -> None:
        """Run once, from ``input`` to ``scores`` and ``embedding``. Raises InferenceError."""
        try:
            self._interpreter.set_tensor(self._input, self.input)
            self._interpreter.invoke()
            # The views must be gone before the next invoke: name none of them.
            np.copyto(self.scores, self._read_scores().reshape(self.scores.shape))
            if self._read_embedding is not None and self.embedding is not None:
                np.copyto(self.embedding, self._read_embedding().reshape(self.embedding.shape))
        except Exception as error:
            raise InferenceError(f"{self.path}: {first_line(error)}") from None

    def close(self) -> None:
        """Release the interpreter; the model cannot run afterwards."""
        self._interpreter = self._read_scores = self._read_embedding = None


def read_tflite(data: bytes, where: str) -> FileSpec:
    """Inputs and outputs of a TFLite file with their quantization; see ``model.inspect_model``."""
    interpreter, _ = _interpreter(_import(where, "litert"), data, where, (CPU,))
    spec = _spec(interpreter.get_input_details(), interpreter.get_output_details(), where)
    operators = _operators(interpreter) or []
    last = {int(i) for op in operators if op["op_name"] == "SOFTMAX" for i in op["outputs"]}
    ends = [d["index"] in last for d in interpreter.get_output_details()]
    outputs = tuple(
        TensorSpec(o.name, o.dtype, o.shape, o.scale, o.zero_point, softmax)
        for o, softmax in zip(spec.outputs, ends, strict=True)
    )
    return FileSpec(spec.inputs, outputs)


def _import(where: str, flavour: str) -> Any:
    """The interpreter module: ai-edge-litert, else (or with flavour ``tflite``) tflite-runtime."""
    if flavour == "litert" and importlib.util.find_spec("ai_edge_litert") is not None:
        return importlib.import_module("ai_edge_litert.interpreter")
    if importlib.util.find_spec("tflite_runtime") is None:
        raise ModelRefused(
            f"{where}: needs a TFLite runtime: pip install 'edgeguard-monitor[litert]'"
        )
    if int(np.__version__.split(".")[0]) >= 2:
        raise ModelRefused(
            f"{where}: tflite-runtime was built for numpy 1 and cannot run with numpy "
            f"{np.__version__}: pip install 'numpy<2', or use ai-edge-litert: "
            "pip install 'edgeguard-monitor[litert]'"
        )
    return importlib.import_module("tflite_runtime.interpreter")


def _interpreter(runtime: Any, data: bytes, where: str, wanted: tuple[str, ...]) -> tuple[Any, int]:
    """An interpreter with the delegates that were asked for, and how many nodes these took."""
    options: dict[str, Any] = {"model_content": data, "num_threads": 1}
    options["experimental_delegates"] = [
        _delegate(runtime, n, where) for n in wanted if n not in _BUILT_IN
    ]
    if CPU in wanted:
        resolver = runtime.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        options["experimental_op_resolver_type"] = resolver
    interpreter = runtime.Interpreter(**options)
    return interpreter, _delegated(interpreter)


def _delegate(runtime: Any, name: str, where: str) -> Any:
    try:
        ctypes.CDLL(name)  # a delegate that fails to load complains once more when it is deleted
        return runtime.load_delegate(name)
    except Exception as error:
        raise ModelRefused(
            f"{where}: delegate {name} was requested and does not load ({first_line(error)}): "
            f"install its library and driver, or request no delegate to run on the CPU"
        ) from None


def _operators(interpreter: Any) -> list[dict[str, Any]] | None:
    """The nodes as the runtime will run them; None from a runtime that cannot say."""
    report = getattr(interpreter, "_get_ops_details", None)
    return None if report is None else list(report())


def _delegated(interpreter: Any) -> int:
    return sum(op["op_name"] == "DELEGATE" for op in _operators(interpreter) or [])


def _running(interpreter: Any, where: str, wanted: tuple[str, ...], delegated: int) -> str:
    """What really runs, or ModelRefused when it is not what was asked for (fault F08).

    ``delegated`` is the number of nodes that the requested libraries took, before the runtime
    applied its own XNNPACK to the rest.
    """
    libraries = [name for name in wanted if name not in _BUILT_IN]
    if libraries and not delegated:
        raise ModelRefused(
            f"{where}: delegate {libraries[0]} was requested and is not what runs: "
            "it took no node of the model; check that the model was compiled for it, or request no "
            "delegate to run on the CPU"
        )
    if libraries:
        return libraries[0]
    running = XNNPACK if _delegated(interpreter) else CPU
    if XNNPACK in wanted and running != XNNPACK:
        raise ModelRefused(
            f"{where}: delegate XNNPACK was requested, this runtime runs the model on {CPU}"
        )
    return running


def _spec(inputs: list[dict[str, Any]], outputs: list[dict[str, Any]], where: str) -> FileSpec:
    return FileSpec(
        tuple(_tensor(d, where) for d in inputs), tuple(_tensor(d, where) for d in outputs)
    )


def _tensor(detail: dict[str, Any], where: str) -> TensorSpec:
    parameters = detail["quantization_parameters"]
    scales, zeros = parameters["scales"], parameters["zero_points"]
    if len(scales) > 1:
        raise ModelRefused(
            f"{where}: {detail['name']!r} is quantized per channel; inputs and outputs must not be"
        )
    shape = tuple(
        int(d) if d > 0 else UNKNOWN for d in detail.get("shape_signature", detail["shape"])
    )
    return TensorSpec(
        str(detail["name"]),
        np.dtype(detail["dtype"]).name,
        shape or tuple(int(d) for d in detail["shape"]),
        float(scales[0]) if len(scales) else 0.0,
        int(zeros[0]) if len(zeros) else 0,
    )
