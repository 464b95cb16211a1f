# SPDX-License-Identifier: Apache-2.0
"""The deployed int8 file as a differentiable function, and the proof that it is that file.

    surrogate = Surrogate.load("plain.onnx")        # or .tflite
    require(agrees(surrogate, deployed, inputs))    # E2: else no attack starts
    surrogate.scores(x).sum().backward()

Measured on x86-64 with ONNX Runtime 1.32 and ai-edge-litert 2.3: the output integers are those of
the runtime. What that takes is written where it is done: `surrogate_layers` (requantization),
`surrogate_float` (what ONNX Runtime leaves in float32), `surrogate_tflite` (XNNPACK and reference
kernels). ONNX Runtime's float32 kernel for a batch of one is another than that for many, so files
are asked image by image here, as the guard does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from attrs import frozen
from torch import Tensor

from edgeguard.errors import EdgeguardError, ModelRefused
from edgeguard.inference.model import inspect_model
from edgeguard.inference.quantization import FileSpec, TensorSpec
from edgeguard.lab.surrogate_layers import Affine, Dequantize, Program

Array = npt.NDArray[Any]
Answer = Callable[[Array], list[Array]]
"""Inputs [N, ...] as the file takes them to its outputs, in its order."""
BATCH = 64
ULPS = 1e-5
"""How far float32 probabilities may be apart (E2): the last bits of a softmax are the CPU's."""


class SurrogateDisagrees(EdgeguardError):
    """The surrogate is not the file: what is found on it would say nothing of the file."""


class Surrogate:
    """A quantized file in torch: whole numbers going forward, straight through going back."""

    def __init__(self, path: Path, spec: FileSpec, program: Program) -> None:
        self.path, self.spec, self._program = path, spec, program

    @classmethod
    def load(cls, path: str | Path) -> Surrogate:
        """Read a .onnx (QDQ, QLinear) or .tflite file.

        Raises ModelRefused, which names the file and the operator that is not known.
        """
        path = Path(path)
        spec = inspect_model(path)
        if path.suffix == ".onnx":
            from edgeguard.lab.surrogate_onnx import read_onnx as read
        else:
            from edgeguard.lab.surrogate_tflite import read_tflite as read
        program = read(path)
        for name in program.lacking():
            raise ModelRefused(
                f"{path}: tensor {name!r} is read, but no layer that the surrogate knows makes it"
            )
        return cls(path, spec, program)

    def __call__(self, x: Tensor) -> list[Tensor]:
        """All outputs as the file gives them, integers held in float32.

        x: float32 [N, ...], what the file takes: steps, or numbers where its input is float.
        """
        return self._program(x)

    def scores(self, x: Tensor, output: str | None = None) -> Tensor:
        """The scores [N, n] as numbers; where they end in a softmax, what that softmax reads: the
        probabilities of a sure model have no gradient. output: a name; default: the first."""
        return self._scores(self._program.run(x), output)

    def both(self, x: Tensor, scores: str, embedding: str) -> tuple[Tensor, Tensor]:
        """What `scores` gives [N, n] and the embedding [N, d] as numbers, in one pass."""
        values = self._program.run(x)
        return self._scores(values, scores), self._number(values, self.index(embedding))

    def with_scores(self, x: Tensor, index: int) -> tuple[list[Tensor], Tensor]:
        """All outputs as the file gives them, and what `scores` gives for one, in one pass."""
        values = self._program.run(x)
        found = [values[name] for name in self._program.outputs]
        return found, self._scores(values, self.spec.outputs[index].name)

    def _scores(self, values: dict[str, Tensor], output: str | None) -> Tensor:
        index = self.index(output)
        made = self._program.outputs[index]
        before = self._program.before_softmax(made)
        if before is None:
            return self._number(values, index)
        name, affine = before
        logits = values[name] if affine is None else Dequantize(affine)(values[name])
        return logits.reshape(values[made].shape)

    def index(self, output: str | None) -> int:
        """Where an output of this name stands; None: the first. Raises ModelRefused."""
        names = [o.name for o in self.spec.outputs]
        if output is not None and output not in names:
            raise ModelRefused(
                f"{self.path}: has no output {output!r} but {', '.join(map(repr, names))}; write "
                "its card again with `edgeguard init`"
            )
        return 0 if output is None else names.index(output)

    def _number(self, values: dict[str, Tensor], index: int) -> Tensor:
        made, spec = values[self._program.outputs[index]], self.spec.outputs[index]
        if spec.dtype == "float32":
            return made
        return Dequantize(Affine(spec.scale, spec.zero_point))(made)


def deployed(path: str | Path) -> Answer:
    """The file on its own runtime, one thread, image by image: ONNX Runtime, or LiteRT with
    XNNPACK. Raises ModelRefused for another suffix."""
    path = Path(path)
    if path.suffix == ".onnx":
        return _onnx(path)
    if path.suffix == ".tflite":
        return _tflite(path)
    raise ModelRefused(f"{path}: suffix {path.suffix!r} is neither .onnx nor .tflite")


def _onnx(path: Path) -> Answer:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def answer(x: Array) -> list[Array]:
        found = [session.run(None, {name: x[i : i + 1]}) for i in range(len(x))]
        return [np.concatenate(column) for column in zip(*found, strict=True)]

    return answer


def _tflite(path: Path) -> Answer:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(path), num_threads=1)
    interpreter.allocate_tensors()
    entry = int(interpreter.get_input_details()[0]["index"])
    ends = [int(d["index"]) for d in interpreter.get_output_details()]

    def answer(x: Array) -> list[Array]:
        found = []
        for i in range(len(x)):
            interpreter.set_tensor(entry, x[i : i + 1])
            interpreter.invoke()
            found.append([interpreter.get_tensor(end) for end in ends])
        return [np.concatenate(column) for column in zip(*found, strict=True)]

    return answer


@frozen
class Agreement:
    """How a surrogate and its file compare on n inputs; steps are those of the outputs."""

    path: Path
    n: int
    largest_steps: float
    """Largest difference of any output value."""
    differing: int
    """Inputs with any difference."""
    labels_differing: int
    """Inputs whose largest score is another, or to which what attacks climb (`Surrogate.scores`)
    says another label; of the output that holds the scores."""

    @property
    def allowed_steps(self) -> float:
        """None for ONNX Runtime; one for LiteRT, whose kernels differ between CPUs."""
        return 1.0 if self.path.suffix == ".tflite" else 0.0


def agrees(surrogate: Surrogate, answer: Answer, inputs: Array, scores: int = 0) -> Agreement:
    """Compare on inputs [N, ...] as the file takes them (in its dtype). scores: which output holds
    them."""
    largest, differing, labels = 0.0, 0, 0
    for part in np.array_split(inputs, -(-len(inputs) // BATCH)) if len(inputs) else ():
        wanted = answer(part)
        with torch.no_grad():
            got, climbed = surrogate.with_scores(torch.from_numpy(part.astype(np.float32)), scores)
        apart = [_steps(g.numpy(), w, s) for g, w, s in
                 zip(got, wanted, surrogate.spec.outputs, strict=True)]  # fmt: skip
        worst = np.max(apart, axis=0)
        largest = max(largest, float(worst.max(initial=0.0)))
        differing += int((worst > 0).sum())
        other = got[scores].numpy().argmax(1) != wanted[scores].argmax(1)
        labels += int((other | _misled(climbed.numpy(), got[scores].numpy())).sum())
    return Agreement(surrogate.path, len(inputs), largest, differing, labels)


def _misled(climbed: Array, scores: Array) -> Array:
    """Whether the largest of what attacks climb is not the label [N]; probabilities in steps may be
    equal where what their softmax reads is not."""
    chosen = np.take_along_axis(scores, climbed.argmax(1)[:, None], 1)[:, 0]
    return np.asarray(chosen < scores.max(1))


def _steps(got: Array, wanted: Array, spec: TensorSpec) -> Array:
    """Largest difference of each input [N], in output steps."""
    apart = np.abs(got.astype(np.float64) - wanted.astype(np.float64)).reshape(len(got), -1).max(1)
    if spec.dtype == "float32" and spec.softmax:
        apart[apart <= ULPS] = 0.0
    unit = spec.scale if spec.dtype == "float32" and spec.scale else 1.0
    return np.asarray(apart / unit)


def require(agreement: Agreement) -> None:
    """Raises SurrogateDisagrees when an attack on the surrogate would not be one on the file."""
    a = agreement
    if a.n and a.largest_steps <= a.allowed_steps and not a.labels_differing:
        return
    raise SurrogateDisagrees(
        f"{a.path}: the surrogate is not the file (E2): on {a.n} inputs {a.differing} differ, by up"
        f" to {a.largest_steps:g} steps (allowed: {a.allowed_steps:g}), {a.labels_differing} in the"
        " label; attacks would say nothing of the file. Report it with the versions of the runtime"
    )
