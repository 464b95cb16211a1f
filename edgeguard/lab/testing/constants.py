# SPDX-License-Identifier: Apache-2.0
"""All bits of all constants of a model file, and the file with one of them flipped."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate


@dataclass(frozen=True)
class Span:
    """Bytes of one constant: where in the file, how many, and what they are."""

    at: int
    size: int
    name: str


@dataclass(frozen=True)
class Constants:
    """A model file and where its constants lie."""

    data: bytes
    spans: tuple[Span, ...]
    ends: tuple[int, ...]
    """Bytes of the constants up to each span's end."""

    @property
    def bits(self) -> int:
        return 8 * self.ends[-1]

    def _place(self, bit: int) -> tuple[Span, int]:
        byte = bit // 8
        number = bisect_right(self.ends, byte)
        start = self.ends[number - 1] if number else 0
        return self.spans[number], byte - start

    def name(self, bit: int) -> str:
        """Which constant, byte and bit."""
        span, offset = self._place(bit)
        return f"{span.name}[{offset}].{bit % 8}"

    def flipped(self, bit: int) -> bytes:
        """The file with that bit the other way round."""
        span, offset = self._place(bit)
        changed = bytearray(self.data)
        changed[span.at + offset] ^= 1 << bit % 8
        return bytes(changed)


def constants(data: bytes, suffix: str) -> Constants:
    """Of an .onnx or .tflite file."""
    data, spans = _onnx(data) if suffix == ".onnx" else (data, tuple(_tflite(data)))
    return Constants(data, spans, tuple(accumulate(span.size for span in spans)))


def _onnx(data: bytes) -> tuple[bytes, tuple[Span, ...]]:
    """Every initialiser; all values in raw form, so that a bit is a bit of the number."""
    import onnx
    from onnx import numpy_helper

    model = onnx.load_from_string(data)
    for tensor in model.graph.initializer:
        if not tensor.raw_data:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    plain = model.SerializeToString()
    spans, at = [], 0
    for tensor in model.graph.initializer:
        whole = tensor.SerializeToString()
        start = plain.index(whole, at)
        at = start + len(whole)
        # The tensor's own message is unique by its name; its raw data lies inside it.
        inside = whole.rindex(tensor.raw_data)
        spans.append(Span(start + inside, len(tensor.raw_data), tensor.name))
    return plain, tuple(spans)


def _tflite(data: bytes) -> Iterator[Span]:
    """Buffers of constant tensors, and the scales and zero points of all tensors."""
    from ai_edge_litert import schema_py_generated as schema

    model = schema.Model.GetRootAs(data, 0)
    for number in range(model.BuffersLength()):
        buffer = model.Buffers(number)
        if number and buffer.DataLength():
            at = buffer._tab.Vector(buffer._tab.Offset(4))
            yield Span(at, buffer.DataLength(), f"buffer {number}")
    graph = model.Subgraphs(0)
    for number in range(graph.TensorsLength()):
        quantization = graph.Tensors(number).Quantization()
        if quantization is None:
            continue
        name = graph.Tensors(number).Name().decode()
        table = quantization._tab
        for slot, length, width, what in (
            (8, quantization.ScaleLength(), 4, "scale"),
            (10, quantization.ZeroPointLength(), 8, "zero point"),
        ):
            if length:
                yield Span(table.Vector(table.Offset(slot)), length * width, f"{name} {what}")
