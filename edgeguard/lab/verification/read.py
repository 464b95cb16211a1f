# SPDX-License-Identifier: Apache-2.0
"""Read an int8 ONNX file, QDQ or QLinear, as a ``Net``.

Known operators are the keys of ``operators.HANDLERS``; any other is refused by name. Activations
need one scale per tensor, weights may have one per output channel; the only float between two
quantizers may be one linear operator with ReLU, Clip, MaxPool and changes of shape around it.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper

from edgeguard.card import Card
from edgeguard.errors import EdgeguardError
from edgeguard.inference.model import read_model
from edgeguard.lab.cards import beside
from edgeguard.lab.verification.maps import Conv, Dense, Shape
from edgeguard.lab.verification.net import (
    Grid,
    Layer,
    MaxPool,
    Net,
    Operand,
    Reshape,
    Steps,
    exact_below,
)
from edgeguard.lab.verification.requantized import requantizes
from edgeguard.lab.verification.values import Constant, Ends, Integers, Pending, Value

WHOLE = 1e-9  # relative: a bias this close to an integer of the sum is one, in float64
INTEGER = {onnx.TensorProto.INT8: (-128, 127), onnx.TensorProto.UINT8: (0, 255)}


class UnsupportedModel(EdgeguardError):
    """A file that the verifier cannot read: ``FILE: node: what; what to do``."""


class Reader:
    """The state while a graph is read: named values, and the layers found so far."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.suffix == ".tflite":
            raise UnsupportedModel(
                f"{path}: is TFLite; only ONNX is proved: export the net as int8 ONNX"
            )
        try:
            model = onnx.load(str(path))
        except FileNotFoundError:
            raise EdgeguardError(f"{path}: no such file") from None
        except Exception as error:
            raise UnsupportedModel(f"{path}: cannot be read as ONNX: {error}") from None
        self.graph = model.graph
        self.values: dict[str, Value] = {
            t.name: Constant(numpy_helper.to_array(t)) for t in self.graph.initializer
        }
        self.layers: list[Layer] = []
        self.shapes: list[Shape] = []
        self.node = ""
        self.now: Any = None  # the node that is read
        self.input: Grid | None = None
        self.real_input = True

    def refuse(self, what: str) -> UnsupportedModel:
        """An error that names file and node."""
        return UnsupportedModel(f"{self.path}: {self.node}{what}")

    def entry(self) -> tuple[str, Shape, int]:
        """Name, shape without the batch, element type of the only input."""
        inputs = [v for v in self.graph.input if v.name not in self.values]
        if len(inputs) != 1:
            raise self.refuse(f"has {len(inputs)} inputs; the verifier takes files with one")
        sizes = [d.dim_value for d in inputs[0].type.tensor_type.shape.dim]
        if len(sizes) < 2 or any(size < 1 for size in sizes[1:]):
            raise self.refuse(
                f"input {inputs[0].name} has the shape {sizes}; export it with fixed sizes "
                "(only the batch may be open)"
            )
        if sizes[0] > 1:
            raise self.refuse(
                f"input {inputs[0].name} has a fixed batch of {sizes[0]}; export it with an open "
                "batch, or 1"
            )
        kind = inputs[0].type.tensor_type.elem_type
        if kind not in (onnx.TensorProto.FLOAT, *INTEGER):
            name = onnx.TensorProto.DataType.Name(kind).lower()
            raise self.refuse(
                f"input {inputs[0].name} is {name}; export it as float32, int8 or uint8"
            )
        return inputs[0].name, tuple(sizes[1:]), kind

    def add(self, layer: Layer) -> int:
        """Append a layer; returns its number."""
        self.layers.append(layer)
        self.shapes.append(layer.shape)
        return len(self.layers)

    def grid(self, number: int) -> Grid:
        """The grid that a layer's integers were made on."""
        return self.input if number == 0 else self.layers[number - 1].grid  # type: ignore[return-value]

    def shape(self, number: int) -> Shape:
        """The shape of a layer's output."""
        return self.shapes[number]

    def image(self, x: Integers) -> tuple[int, int, int]:
        """Channels, height and width of what an operator on pictures reads."""
        shape = self.shape(x.number)
        if len(shape) != 3:
            raise self.refuse(
                f"reads a tensor of shape {list(shape)}; known is [channels, height, width] only"
            )
        return shape

    def was_rounded(self, x: Integers, grid: Grid) -> bool:
        """Whether a quantizer of the file made these integers, on another grid than this one."""
        own, number = self.grid(x.number), x.number
        while number and isinstance(layer := self.layers[number - 1], (MaxPool, Reshape)):
            number = layer.inputs[0]
        same = Grid(x.scale, x.zero, own.low, own.high) == grid
        return not same and (number > 0 or self.real_input)

    def reshape(self, x: Integers, shape: Shape) -> Integers:
        """The integers in another shape."""
        if shape == self.shape(x.number):
            return x
        layer = Reshape((x.number,), shape, self.grid(x.number), self.node)
        return Integers(self.add(layer), x.scale, x.zero, x.real)

    def max_pool(self, x: Integers, a: dict[str, Any]) -> Integers:
        """A MaxPool of integers; the order of real numbers is that of the integers."""
        if a.get("ceil_mode") or any(d != 1 for d in a.get("dilations", (1,))):
            raise self.refuse("MaxPool with ceil_mode or dilations is not known")
        kernel, stride = tuple(a["kernel_shape"]), tuple(a.get("strides", (1, 1)))
        pads = tuple(a.get("pads", (0, 0, 0, 0)))
        channels, height, width = self.image(x)
        rows = (height + pads[0] + pads[2] - kernel[0]) // stride[0] + 1
        columns = (width + pads[1] + pads[3] - kernel[1]) // stride[1] + 1
        layer = MaxPool((x.number,), kernel, stride, pads, (channels, rows, columns),
                        self.grid(x.number), self.node)  # type: ignore[arg-type]  # fmt: skip
        return Integers(self.add(layer), x.scale, x.zero, x.real)

    def quantize(self, p: Pending, grid: Grid, raw: bool = False) -> Integers:
        """Close a linear operator by a quantizer: one ``Steps`` layer."""
        if p.float_bias and not raw:
            raise self.refuse(
                f"{p.float_bias} has a float bias, which ONNX Runtime may round to int32 before it "
                "adds it; quantize it: int32, with a DequantizeLinear of input scale * weight "
                "scale and zero point 0"
            )
        if p.product is not None and requantizes(self.graph, p.product, self.values):
            raise self.refuse(
                f"node {p.product.name or p.product.output[0]} ({p.product.op_type}): ONNX Runtime "
                "may quantize its input again, since no DequantizeLinear is right before it and no "
                "quantizer right behind it; quantize what it makes, or make it a Gemm with transB=1"
            )
        maps = tuple(term.at(grid.scale) for term in p.terms)
        bias = p.constant / grid.scale
        constant = bias + grid.zero
        for one, term in zip(maps, p.terms, strict=True):
            zeros = torch.full((1, *self.shape(term.source.number)), float(term.source.zero))
            constant = constant - one.apply(zeros.double())[0]
        exact = torch.zeros((), dtype=torch.float64)
        if len(maps) == 1 and isinstance(maps[0], (Conv, Dense)) and p.terms[0].scales is not None:
            steps = bias / maps[0].gain
            if bool(((steps - torch.round(steps)).abs() < WHOLE * steps.abs().clamp(min=1)).all()):
                exact = exact_below(p.terms[0].scales, maps[0].gain)
        low, high = p.ends.on(grid)
        layer = Steps(
            tuple(term.source.number for term in p.terms), maps, constant, bias,
            tuple(term.source.zero for term in p.terms), exact, grid, low, high, self.node, raw,
            None if p.operand is None else _operand(p.operand, grid),
        )  # fmt: skip
        result = Integers(self.add(layer), grid.scale, grid.zero, real=raw)
        return result if p.then is None else self.reshape(result, p.then)

    def attributes(self, node: Any) -> dict[str, Any]:
        """Attributes of a node by name."""
        return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def _operand(value: Constant, grid: Grid) -> Operand:
    assert value.scale is not None and value.zero is not None
    whole = torch.from_numpy(value.array.astype(np.float64))
    return Operand(whole, int(value.zero.item()), float(value.scale.item()) / grid.scale)


def read_net(path: Path, output: str | None = None) -> Net:
    """Read a file; output: name of the scores, by default those of the card beside it, without a
    card "scores" or the only output.

    Raises UnsupportedModel (an EdgeguardError) that names what is not known.
    """
    from edgeguard.lab.verification.operators import HANDLERS

    reader = Reader(Path(path))
    name, shape, kind = reader.entry()
    reader.shapes.append(shape)
    reader.real_input = kind not in INTEGER
    reader.values[name] = Integers(0, 0.0, 0, real=reader.real_input)
    if not reader.real_input:
        reader.input = Grid(1.0, 0, *INTEGER[kind])
    for node in reader.graph.node:
        reader.now = node
        reader.node = f"node {node.name or node.output[0]} ({node.op_type}): "
        if node.op_type not in HANDLERS:
            raise reader.refuse(f"unknown operator; known: {', '.join(sorted(HANDLERS))}")
        inputs = [reader.values[i] if i else None for i in node.input]
        reader.values[node.output[0]] = HANDLERS[node.op_type](
            reader, inputs, reader.attributes(node)
        )
    reader.node = ""
    return _finish(reader, output, name, shape)


def card_of(path: Path) -> Card | None:
    """The card beside a file, None without one. Raises EdgeguardError for a broken card, or one
    that was written for another file."""
    card = beside(path)
    if card is not None:
        read_model(card, path)
    return card


def _wanted(reader: Reader, output: str | None) -> str:
    """The name of the output that holds the scores."""
    names = [v.name for v in reader.graph.output]
    card = card_of(reader.path) if output is None else None
    if output is None and card is None and "scores" not in names and len(names) != 1:
        raise reader.refuse(
            f"has {len(names)} outputs ({', '.join(names)}) and no card that tells which are the "
            'scores; write one with `edgeguard init`, or name that output "scores"'
        )
    plain = "scores" if "scores" in names else names[0]
    wanted = output or (plain if card is None else card.scores.name)
    if wanted not in names:
        raise reader.refuse(f"has no output {wanted}; its outputs are {', '.join(names)}")
    return wanted


def _finish(reader: Reader, output: str | None, name: str, shape: Shape) -> Net:
    wanted = _wanted(reader, output)
    value = reader.values[wanted]
    if isinstance(value, Pending):  # float scores that no quantizer follows
        if value.ends != Ends():
            raise reader.refuse(f"output {wanted}: a Relu or Clip on float scores is not known")
        if len(value.shape) != 1 or value.then not in (None, value.shape):
            raise reader.refuse(
                f"output {wanted}: float scores that a layer of the shape {list(value.shape)} "
                "makes are not known; quantize the scores, or make them with a Gemm or MatMul"
            )
        value = reader.quantize(value, Grid(1.0, 0, 0, 0), raw=True)
    if not isinstance(value, Integers) or reader.input is None or not reader.layers:
        raise reader.refuse("nothing quantized lies between input and scores: not an int8 file")
    own = reader.grid(value.number)
    if value.real and (value.scale, value.zero) != (own.scale, own.zero):
        raise reader.refuse(
            f"output {wanted}: its DequantizeLinear has another scale or zero point than the "
            "quantizer that made it; give both the same"
        )
    # Whoever asks for scores counts along one axis: [K, 1, 1] would be one class, or none.
    value = reader.reshape(value, (math.prod(reader.shape(value.number)),))
    return Net(reader.input, shape, reader.real_input, tuple(reader.layers), value.number, name,
               wanted, str(reader.path))  # fmt: skip
