# SPDX-License-Identifier: Apache-2.0
"""Inputs, outputs and quantization of an ONNX file, read from its bytes.

A small reader of the protobuf wire format, so that no ``onnx`` package is needed at run time and
nothing is executed. Field numbers are those of onnx.proto3 (ONNX IR). Files are hostile until
proven otherwise: every length is checked, nothing recurses, weights are never copied.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator

import attrs

from edgeguard.errors import ModelRefused
from edgeguard.inference.quantization import UNKNOWN, FileSpec, TensorSpec

_DTYPES = {1: "float32", 2: "uint8", 3: "int8"}
_NUMBERS = {1: "<f", 2: "<B", 3: "<b", 5: "<h", 6: "<i", 7: "<q", 10: "<e", 11: "<d"}
_SHAPE_ONLY = frozenset({"Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"})
# Operators with an integer result, and where among their inputs its scale and zero point are.
_QUANTIZERS = {"QuantizeLinear": 1, "QLinearConv": 6, "QLinearMatMul": 6, "QGemm": 7}


class _MalformedError(Exception):
    """The bytes are not the protobuf message they should be."""


@attrs.frozen
class _Node:
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: tuple[memoryview, ...]


@attrs.frozen
class _Graph:
    nodes: tuple[_Node, ...]
    initializers: dict[str, memoryview]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    producers: dict[str, _Node]
    consumers: dict[str, list[_Node]]


def read_onnx(data: bytes, where: str) -> FileSpec:
    """Read the inputs and outputs of an ONNX file with their types, shapes and quantization.

    An int8 or uint8 input takes the scale and zero point of the DequantizeLinear (or QLinear
    operator) that consumes it, an int8 or uint8 output those of the QuantizeLinear (or QLinear
    operator) that produces it, a float output the step of the DequantizeLinear that ends it.

    Raises ModelRefused, naming ``where``, for anything that is not a readable ONNX model, and for
    weights in other files, which the card's hash would not cover.
    """
    try:
        graph = _graph(memoryview(data))
        inputs = tuple(_consumed(graph, i) for i in graph.inputs)
        outputs = tuple(_produced(graph, o) for o in graph.outputs)
    except (_MalformedError, ValueError, OverflowError, struct.error) as error:
        raise ModelRefused(f"{where}: is not a readable ONNX model: {error}") from None
    if not inputs or not outputs:
        raise ModelRefused(f"{where}: is not a readable ONNX model: it has no inputs or no outputs")
    return FileSpec(inputs, outputs)


# --- wire format --------------------------------------------------------------------------------


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _MalformedError("a number is cut off")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value & 0xFFFF_FFFF_FFFF_FFFF, at


def _fields(data: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield (field number, value): an int for varints, the bytes for everything else."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
            yield key >> 3, value
            continue
        if kind not in (1, 2, 5):
            raise _MalformedError(f"wire type {kind}")
        length = 8 if kind == 1 else 4
        if kind == 2:
            length, at = _varint(data, at)
        if length > len(data) - at:
            raise _MalformedError("a field reaches beyond its end")
        yield key >> 3, data[at : at + length]
        at += length


def _all(data: memoryview, number: int) -> list[memoryview]:
    return [v for n, v in _fields(data) if n == number and isinstance(v, memoryview)]


def _text(data: memoryview, number: int) -> str:
    found = _all(data, number)
    return bytes(found[-1]).decode() if found else ""


def _int(data: memoryview, number: int, default: int = 0) -> int:
    found = [v for n, v in _fields(data) if n == number and isinstance(v, int)]
    return found[-1] if found else default


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


# --- messages -----------------------------------------------------------------------------------


def _graph(data: memoryview) -> _Graph:
    found = _all(data, 7)
    if len(found) != 1:
        raise _MalformedError("no graph")
    parts: dict[int, list[memoryview]] = {1: [], 5: [], 11: [], 12: []}
    for number, value in _fields(found[0]):
        if number in parts and isinstance(value, memoryview):
            parts[number].append(value)
    nodes = tuple(_node(n) for n in parts[1])
    initializers = {_text(t, 8): t for t in parts[5]}
    for name, tensor in initializers.items():
        if _int(tensor, 14) == 1 or _all(tensor, 13):
            raise _MalformedError(
                f"weight {name!r} lies in another file, which no hash covers; save it as one file"
            )
    inputs = tuple(v for v in map(_value_info, parts[11]) if v.name not in initializers)
    producers = {name: node for node in nodes for name in node.outputs if name}
    consumers: dict[str, list[_Node]] = {}
    for node in nodes:
        for name in node.inputs:
            consumers.setdefault(name, []).append(node)
    return _Graph(
        nodes, initializers, inputs, tuple(map(_value_info, parts[12])), producers, consumers
    )


def _node(data: memoryview) -> _Node:
    inputs, outputs, attributes, op = [], [], [], ""
    for number, value in _fields(data):
        if not isinstance(value, memoryview):
            continue
        if number == 1:
            inputs.append(bytes(value).decode())
        elif number == 2:
            outputs.append(bytes(value).decode())
        elif number == 4:
            op = bytes(value).decode()
        elif number == 5:
            attributes.append(value)
    return _Node(op, tuple(inputs), tuple(outputs), tuple(attributes))


def _value_info(data: memoryview) -> TensorSpec:
    name, types = _text(data, 1), _all(data, 2)
    tensors = _all(types[-1], 1) if types else []
    if not tensors:
        raise _MalformedError(f"{name!r} is no tensor")
    element = _int(tensors[-1], 1)
    shapes = _all(tensors[-1], 2)
    dims = []
    for dim in _all(shapes[-1], 1) if shapes else []:
        size = _signed(_int(dim, 1, 0))
        dims.append(size if size > 0 else UNKNOWN)
    return TensorSpec(name, _DTYPES.get(element, f"ONNX type {element}"), tuple(dims))


# --- quantization -------------------------------------------------------------------------------


def _scalar(graph: _Graph, name: str) -> float:
    """The one number of a constant tensor, or a complaint."""
    tensor = graph.initializers.get(name)
    producer = graph.producers.get(name)
    if tensor is None and producer is not None and producer.op == "Constant":
        tensor = next(
            (t for a in producer.attributes if _text(a, 1) == "value" for t in _all(a, 5)), None
        )
    if tensor is None:
        raise _MalformedError(f"quantization parameter {name!r} is not a constant")
    fields = list(_fields(tensor))
    if _elements(fields) != 1:
        raise _MalformedError(f"quantization parameter {name!r} is not one number")
    kind = _int(tensor, 2)
    for number, value in fields:
        if number == 9 and isinstance(value, memoryview) and kind in _NUMBERS and len(value):
            return float(struct.unpack(_NUMBERS[kind], value)[0])
        if number == 4 and isinstance(value, memoryview):
            return float(struct.unpack("<f", value)[0])
        if number in (5, 7):
            return float(_signed(value if isinstance(value, int) else _varint(value, 0)[0]))
    raise _MalformedError(f"quantization parameter {name!r} holds no number")


def _elements(fields: list[tuple[int, int | memoryview]]) -> int:
    """Product of a tensor's dims, which are packed or not."""
    total = 1
    for number, value in fields:
        if number != 1:
            continue
        packed, at = (value, 0) if isinstance(value, memoryview) else (memoryview(b""), 0)
        total *= value if isinstance(value, int) else 1
        while at < len(packed):
            dim, at = _varint(packed, at)
            total *= dim
    return total


def _parameters(graph: _Graph, names: tuple[str, ...]) -> tuple[float, int]:
    """Scale and zero point from the names of their constants (the second may be missing)."""
    scale = _scalar(graph, names[0]) if names else 0.0
    if not (math.isfinite(scale) and scale > 0):
        raise _MalformedError(f"quantization scale {scale} is not above 0")
    zero = _scalar(graph, names[1]) if len(names) > 1 and names[1] else 0.0
    return scale, int(zero)


def _consumed(graph: _Graph, spec: TensorSpec) -> TensorSpec:
    """An input with the quantization by which the graph reads it."""
    if spec.dtype not in ("int8", "uint8"):
        return spec
    found = {
        _parameters(graph, node.inputs[1:3])
        for node in _after(graph, spec.name)
        if node.op == "DequantizeLinear" or node.op.startswith(("QLinear", "QGemm"))
    }
    if len(found) > 1:
        raise _MalformedError(f"input {spec.name!r} is dequantized in two ways")
    scale, zero_point = found.pop() if found else (0.0, 0)
    return attrs.evolve(spec, scale=scale, zero_point=zero_point)


def _produced(graph: _Graph, spec: TensorSpec) -> TensorSpec:
    """An output with the quantization at its end, or the step of a last DequantizeLinear."""
    node = _before(graph, spec.name)
    if node is None:
        return spec
    quantizers = _QUANTIZERS if spec.dtype in ("int8", "uint8") else {"DequantizeLinear": 1}
    scale, zero_point = 0.0, 0
    if node.op in quantizers:
        at = quantizers[node.op]
        scale, zero_point = _parameters(graph, node.inputs[at : at + 2])
    softmax = _ends_in_softmax(graph, node)
    return attrs.evolve(spec, scale=scale, zero_point=zero_point, softmax=softmax)


def _ends_in_softmax(graph: _Graph, node: _Node | None) -> bool:
    for _ in range(3):  # DequantizeLinear, QuantizeLinear, Softmax
        if node is None or node.op not in ("QuantizeLinear", "DequantizeLinear") or not node.inputs:
            break
        node = _before(graph, node.inputs[0])
    return node is not None and node.op == "Softmax"


def _walk(
    start: str, step: Callable[[str], list[_Node]], follow: Callable[[_Node], list[str]]
) -> list[_Node]:
    """Nodes reached from a tensor when nodes that only change the shape are passed through."""
    todo, seen, found = [start], {start}, []
    while todo:
        for node in step(todo.pop()):
            if node.op not in _SHAPE_ONLY:
                found.append(node)
                continue
            fresh = [name for name in follow(node) if name not in seen]
            seen.update(fresh)
            todo.extend(fresh)
    return found


def _after(graph: _Graph, name: str) -> list[_Node]:
    return _walk(name, lambda n: graph.consumers.get(n, []), lambda node: list(node.outputs))


def _before(graph: _Graph, name: str) -> _Node | None:
    found = _walk(
        name,
        lambda n: [graph.producers[n]] if n in graph.producers else [],
        lambda node: list(node.inputs[:1]),
    )
    return found[0] if found else None
