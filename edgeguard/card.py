# SPDX-License-Identifier: Apache-2.0
"""The card of a model: what a model file is, what it expects and what it must answer.

A card is ``NAME.card.json`` beside the model file. It is the trusted half of the pair: the model
file must have the hash, the shapes, the quantization and the golden answers that its card states.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import attrs

from edgeguard.errors import ConfigError
from edgeguard.json_reader import JsonReader, read_json
from edgeguard.labels import read_labels

RUNTIMES = ("onnx", "litert")
TASKS = ("classifier", "regressor")
LAYOUTS = ("CHW", "HWC", "VECTOR")
DTYPES = ("float32", "int8", "uint8")
COLOURS = {"RGB": 3, "BGR": 3, "GRAY": 1}
RESIZES = ("bilinear", "area")
FITS = ("stretch", "letterbox", "crop")
KINDS = ("logits", "probabilities", "value", "embedding")
SUFFIX = ".card.json"
MOST_VALUES = 2**26  # of one channel: 8192 x 8192


@attrs.frozen
class Input:
    """What the model's input tensor holds.

    ``layout`` CHW, HWC (then ``size`` is [height, width]) or VECTOR (``size`` is [n], no picture).
    A pixel p of 0..255 enters as real = (p / 255 - mean) / std per channel in the order of
    ``colour``; integer inputs then hold round(real / scale) + zero_point.
    """

    layout: str
    dtype: str
    size: tuple[int, ...]
    scale: float = 0.0
    zero_point: int = 0
    colour: str = "RGB"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    resize: str = "area"
    fit: str = "stretch"
    name: str | None = None

    @property
    def channels(self) -> int:
        """Colour channels of the picture; 0 for a VECTOR."""
        return 0 if self.layout == "VECTOR" else COLOURS[self.colour]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor with its batch of one, for example (1, 3, 32, 32)."""
        if self.layout == "VECTOR":
            return (1, *self.size)
        height, width = self.size
        if self.layout == "CHW":
            return (1, self.channels, height, width)
        return (1, height, width, self.channels)


@attrs.frozen
class Output:
    """One output tensor. ``size`` is its number of values; ``kind`` says what they mean.

    Integer outputs stand for scale * (q - zero_point). For a float32 output whose last node is a
    DequantizeLinear, ``scale`` is the step of that node; 0 means that the output has no step.
    """

    name: str
    dtype: str
    kind: str
    size: int
    scale: float = 0.0
    zero_point: int = 0


@attrs.frozen
class Golden:
    """File of golden vectors beside the card, its SHA-256 in hex, and how many inputs it holds."""

    file: str
    sha256: str
    inputs: int | None = None


@attrs.frozen
class Card:
    """What a card file states. ``directory`` is where its relative paths start.

    ``max_rail`` is how many quantized scores may sit at the upper rail, ``min_distinct`` how many
    different score values one answer must show; both follow from the kind of scores when absent.
    ``value_range`` is the declared range of a regressor, in ``unit``. ``extra`` keeps every other
    key (data, split, accuracy, ...) as read.
    """

    name: str
    file: str
    sha256: str
    runtime: str
    task: str
    labels: tuple[str, ...]
    input: Input
    outputs: tuple[Output, ...]
    temperature: float = 1.0
    golden: Golden | None = None
    max_rail: int | None = None
    min_distinct: int | None = None
    value_range: tuple[float, float] | None = None
    unit: str = ""
    labels_file: str | None = None
    directory: Path = attrs.field(default=Path("."), eq=False)
    extra: dict[str, Any] = attrs.field(factory=dict)

    @property
    def scores(self) -> Output:
        """The output that the guard decides on: the first that is not an embedding."""
        return next(output for output in self.outputs if output.kind != "embedding")

    @property
    def embedding(self) -> Output | None:
        """The penultimate activation, where the model gives it."""
        return next((output for output in self.outputs if output.kind == "embedding"), None)

    @property
    def model_path(self) -> Path:
        """The model file that the card was written for."""
        return self.directory / self.file

    @property
    def rail_allowance(self) -> int:
        """Scores allowed at the upper rail: 1 for logits; probabilities live at their rail."""
        if self.max_rail is not None:
            return self.max_rail
        return 1 if self.scores.kind == "logits" else self.scores.size

    @property
    def distinct_needed(self) -> int:
        """Different values that one answer must show: 3 for logits of more than 2 classes."""
        if self.min_distinct is not None:
            return self.min_distinct
        if self.task == "regressor":
            return 1
        return 3 if self.scores.kind == "logits" and self.scores.size > 2 else 2

    @classmethod
    def load(cls, path: str | Path) -> Card:
        """Read a card file. Raises ConfigError that names the file and the key."""
        path = Path(path)
        return cls.from_dict(read_json(path), path.parent, str(path))

    @classmethod
    def beside(cls, model: str | Path) -> Card:
        """Read the card beside a model file. Raises ConfigError that names the file and the key.

        ``plain.int8.onnx`` has ``plain.int8.card.json`` or ``plain.card.json``.
        """
        return cls.load(card_path(model))

    @classmethod
    def from_dict(cls, data: dict[str, Any], directory: Path, where: str = "card") -> Card:
        """Build a card from parsed JSON; ``where`` names the source in errors (ConfigError)."""
        reader = JsonReader(where, data)
        labels_file, labels = _labels(reader, directory)
        card = cls(
            name=reader.text("name"),
            file=reader.text("file"),
            sha256=reader.digest("sha256"),
            runtime=reader.choice("runtime", RUNTIMES),
            task=reader.choice("task", TASKS),
            labels=labels,
            input=_input(reader.table("input")),
            outputs=tuple(_output(r) for r in reader.tables("outputs")),
            temperature=reader.number("temperature", 1.0, above=0.0),
            golden=_golden(reader),
            max_rail=reader.optional_integer("max_rail"),
            min_distinct=reader.optional_integer("min_distinct"),
            value_range=_value_range(reader),
            unit=reader.text("unit", ""),
            labels_file=labels_file,
            directory=directory,
            extra=reader.rest(_KNOWN),
        )
        _check(card, where)
        return card

    def to_dict(self) -> dict[str, Any]:
        """The card as JSON-ready data; ``from_dict`` reads it back to an equal card."""
        data = attrs.asdict(self, filter=lambda a, v: a.name not in _OWN and v is not None)
        data["labels"] = self.labels_file if self.labels_file else list(self.labels)
        if not self.unit:
            data.pop("unit")
        return {**data, **self.extra}

    def save(self, path: str | Path) -> None:
        """Write the card as indented JSON."""
        Path(path).write_text(json.dumps(self.to_dict(), indent=1) + "\n", encoding="utf-8")


_OWN = ("directory", "extra", "labels_file")
_KNOWN = tuple(a.name for a in attrs.fields(Card) if a.name not in _OWN)


def card_path(model: str | Path) -> Path:
    """Where the card of a model file lies. Raises ConfigError when there is none."""
    model = Path(model)
    tried = []
    stem = model
    while stem.suffix:
        stem = stem.with_suffix("")
        tried.append(stem.with_name(stem.name + SUFFIX))
        if tried[-1].is_file():
            return tried[-1]
    names = " or ".join(path.name for path in tried) or model.name + SUFFIX
    raise ConfigError(
        f"{model}: has no card ({names}) beside it; `edgeguard init {model.name}` writes that of a"
        " classifier, docs/card.md says how to write others"
    )


def _labels(reader: JsonReader, directory: Path) -> tuple[str | None, tuple[str, ...]]:
    given = reader.take("labels", [])
    if isinstance(given, str):
        try:
            return given, read_labels(directory / given)
        except ConfigError as error:
            raise reader.error("labels", str(error)) from None
    if not isinstance(given, (list, tuple)) or not all(isinstance(label, str) for label in given):
        raise reader.error("labels", "want a list of names, or the name of a file of names")
    return None, tuple(given)


def _input(reader: JsonReader) -> Input:
    layout, dtype = reader.choice("layout", LAYOUTS), reader.choice("dtype", DTYPES)
    given = reader.numbers("size")
    size = tuple(int(v) for v in given)
    wanted = "[n]" if layout == "VECTOR" else "[height, width]"
    if size != given or len(size) != wanted.count(",") + 1 or min(size) < 1:
        raise reader.error("size", f"want {wanted}, got {list(given)}")
    if math.prod(size) > MOST_VALUES:
        raise reader.error("size", f"{list(given)} is more than {MOST_VALUES} values")
    colour = reader.choice("colour", tuple(COLOURS), "RGB")
    channels = COLOURS[colour]
    mean, std = reader.numbers("mean", (0.0,) * channels), reader.numbers("std", (1.0,) * channels)
    for key, values in (("mean", mean), ("std", std)):
        if len(values) != channels:
            raise reader.error(key, f"want {channels} numbers for {colour}, got {len(values)}")
    if min(std) <= 0:
        raise reader.error("std", "want numbers above 0")
    result = Input(
        layout, dtype, size, *_quantization(reader, dtype), colour, mean, std,
        reader.choice("resize", RESIZES, "area"), reader.choice("fit", FITS, "stretch"),
        reader.optional_text("name"),
    )  # fmt: skip
    reader.done()
    return result


def _quantization(reader: JsonReader, dtype: str) -> tuple[float, int]:
    """Scale and zero point: needed for integers; floats may state the step of their last node."""
    scale, zero = reader.number("scale", 0.0), reader.integer("zero_point", 0, low=-128)
    if scale < 0 or (dtype != "float32" and scale == 0):
        raise reader.error("scale", f"want a number above 0 for {dtype}, got {scale:g}")
    if dtype != "float32" and not (-128 <= zero <= 127 if dtype == "int8" else 0 <= zero <= 255):
        raise reader.error("zero_point", f"{zero} is outside {dtype}")
    return scale, zero


def _output(reader: JsonReader) -> Output:
    dtype = reader.choice("dtype", DTYPES)
    result = Output(
        reader.text("name"), dtype, reader.choice("kind", KINDS), reader.integer("size", low=1),
        *_quantization(reader, dtype),
    )  # fmt: skip
    reader.done()
    return result


def _golden(reader: JsonReader) -> Golden | None:
    if reader.data.get("golden") is None:
        reader.data.pop("golden", None)
        return None
    table = reader.table("golden")
    result = Golden(table.text("file"), table.digest("sha256"), table.optional_integer("inputs"))
    table.done()
    return result


def _value_range(reader: JsonReader) -> tuple[float, float] | None:
    values = reader.numbers("value_range", ())
    if not values:
        return None
    if len(values) != 2 or not values[0] < values[1]:
        raise reader.error("value_range", f"want [low, high], got {list(values)}")
    return values[0], values[1]


def _check(card: Card, where: str) -> None:
    """What no key says alone: the outputs, the task and the labels belong together."""
    meant = [output for output in card.outputs if output.kind != "embedding"]
    if len(meant) != 1 or len(card.outputs) > 2:
        raise ConfigError(f"{where}: outputs: want one output of scores and at most one embedding")
    if (card.scores.kind == "value") != (card.task == "regressor"):
        raise ConfigError(
            f"{where}: task: a {card.task} cannot have an output of kind {card.scores.kind}"
        )
    if card.task == "regressor" and card.scores.size != 1:
        raise ConfigError(
            f"{where}: outputs: a member says one value, this output holds {card.scores.size};"
            " split the model's head, and make a member of each"
        )
    if card.task == "classifier" and card.scores.size < 2:
        raise ConfigError(
            f"{where}: outputs: a classifier needs at least 2 scores; one value is task regressor"
        )
    if card.task == "classifier" and len(card.labels) != card.scores.size:
        raise ConfigError(
            f"{where}: labels: {len(card.labels)} names for {card.scores.size} scores"
        )
