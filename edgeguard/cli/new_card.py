# SPDX-License-Identifier: Apache-2.0
"""The card of somebody's model: what the file says, and what has to be assumed beside it."""

from __future__ import annotations

import re
from operator import mul
from pathlib import Path

from attrs import evolve, frozen

from edgeguard.card import Card, Input, Output
from edgeguard.errors import ConfigError
from edgeguard.inference.quantization import UNKNOWN, FileSpec, TensorSpec, detection_head

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Grey is luma (BT.601, as native/kernels/colour.hpp makes it): so is its mean of the three. Nobody
# publishes its deviation; weighted alike it is that of colours which rise and fall together, as
# those of pictures nearly do, and else a little too large.
GREY = (0.299, 0.587, 0.114)  # of red, green, blue

# What the numbers of a float input stand for: mean and std of red, green, blue, per --pixels.
PIXELS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "0..1": ((0.0,) * 3, (1.0,) * 3),
    "-1..1": ((0.5,) * 3, (0.5,) * 3),
    "0..255": ((0.0,) * 3, (1 / 255,) * 3),
    "imagenet": (IMAGENET_MEAN, IMAGENET_STD),
}

_SPANS = {"0..1": (0, 1), "-1..1": (-1, 1), "0..255": (0, 255), "imagenet": (-2.12, 2.64)}

_CALLED = re.compile("score|logit|prob", re.IGNORECASE)  # of outputs, as exporters name them


@frozen
class Wishes:
    """What the user said on the command line; None: find out, or assume the usual."""

    size: tuple[int, int] | None = None
    pixels: str | None = None
    colour: str | None = None
    scores: str | None = None


def new_card(
    model: Path, digest: str, spec: FileSpec, labels: tuple[str, ...], wishes: Wishes
) -> tuple[Card, list[str]]:
    """A card without golden vectors, and the assumptions in it. Raises ConfigError."""
    if len(spec.inputs) != 1:
        raise ConfigError(f"{model}: has {len(spec.inputs)} inputs; one picture is supported")
    assumed: list[str] = []
    picture = _input(model, spec.inputs[0], wishes, assumed)
    outputs = _outputs(model, spec.outputs, labels, wishes.scores, assumed)
    card = Card(
        name=model.stem,
        file=model.name,
        sha256=digest,
        runtime="onnx" if model.suffix == ".onnx" else "litert",
        task="classifier",
        labels=labels,
        input=picture,
        outputs=outputs,
        directory=model.parent,
    )
    return card, assumed


def _input(model: Path, tensor: TensorSpec, wishes: Wishes, assumed: list[str]) -> Input:
    if tensor.dtype not in ("float32", "int8", "uint8"):
        raise ConfigError(
            f"{model}: input {tensor.name!r} is {tensor.dtype}; float32, int8, uint8 are supported"
        )
    if tensor.dtype != "float32" and tensor.scale <= 0:
        raise ConfigError(
            f"{model}: input {tensor.name!r} is {tensor.dtype} without scale and zero point;"
            " quantize the model with them"
        )
    layout, channels, size = _shape(model, tensor, wishes)
    colour = wishes.colour or ("GRAY" if channels == 1 else "RGB")
    if (colour == "GRAY") != (channels == 1):
        raise ConfigError(f"{model}: the input has {channels} channels, which is not {colour}")
    if wishes.colour is None and channels == 3:
        assumed.append("colours in the order RGB (else: --colour BGR)")
    pixels = wishes.pixels or _pixels(tensor, assumed)
    mean, std = (_ordered(values, colour) for values in PIXELS[pixels])
    if (pixels, colour) == ("imagenet", "GRAY"):
        assumed.append(
            f"grey with ImageNet's luma: mean {mean[0]:g}, std {std[0]:g} (else: in the card)"
        )
    return Input(
        layout=layout,
        dtype=tensor.dtype,
        size=size,
        scale=tensor.scale,
        zero_point=tensor.zero_point,
        colour=colour,
        mean=mean,
        std=std,
    )


def _ordered(rgb: tuple[float, ...], colour: str) -> tuple[float, ...]:
    """A number for each colour, in the order of the card's `colour`."""
    if colour == "GRAY":
        same = len(set(rgb)) == 1  # exact, without the dust of a sum
        return rgb[:1] if same else (round(sum(map(mul, GREY, rgb)), 3),)
    return rgb[::-1] if colour == "BGR" else rgb


def _shape(model: Path, tensor: TensorSpec, wishes: Wishes) -> tuple[str, int, tuple[int, int]]:
    """Layout, channels and size of the picture that an input takes."""
    shape = tensor.shape
    if len(shape) != 4:
        raise ConfigError(
            f"{model}: input {tensor.name!r} {list(shape)} is no picture; init writes guards for"
            " picture classifiers"
        )
    if shape[0] not in (1, UNKNOWN):
        raise ConfigError(f"{model}: works on batches of {shape[0]}; export it for single pictures")
    layout = "CHW" if shape[1] in (1, 3) else "HWC" if shape[3] in (1, 3) else ""
    if not layout:
        raise ConfigError(
            f"{model}: input {tensor.name!r} {list(shape)} has neither 1 nor 3 channels"
        )
    channels = shape[1] if layout == "CHW" else shape[3]
    height, width = shape[2:] if layout == "CHW" else shape[1:3]
    if UNKNOWN in (height, width):
        if wishes.size is None:
            raise ConfigError(
                f"{model}: takes pictures of any size; name the one it was trained on, for"
                " example --size 224x224"
            )
        height, width = wishes.size
    elif wishes.size not in (None, (height, width)):
        raise ConfigError(f"{model}: takes {height}x{width} pictures; drop --size")
    return layout, channels, (height, width)


def _pixels(tensor: TensorSpec, assumed: list[str]) -> str:
    """What the input's numbers stand for: quantized inputs tell by their range."""
    if tensor.dtype == "float32":
        assumed.append("pixels as numbers from 0 to 1 (else: --pixels)")
        return "0..1"
    lowest = -128 if tensor.dtype == "int8" else 0
    low = tensor.scale * (lowest - tensor.zero_point)
    high = tensor.scale * (lowest + 255 - tensor.zero_point)
    near = min(_SPANS, key=lambda name: abs(_SPANS[name][0] - low) + abs(_SPANS[name][1] - high))
    assumed.append(f"pixels as {near}: its input spans {low:.3g} to {high:.3g} (else: --pixels)")
    return near


def _outputs(
    model: Path, tensors: tuple[TensorSpec, ...], labels: tuple[str, ...], named: str | None,
    assumed: list[str],
) -> tuple[Output, ...]:  # fmt: skip
    head = detection_head(tensors)
    if head:
        raise ConfigError(f"{model}: {head}")
    scores = _scores(model, tensors, labels, named, assumed)
    rest = [t for t in tensors if t is not scores and t.size != UNKNOWN]
    if len(rest) > 1:
        raise ConfigError(
            f"{model}: has {len(tensors)} outputs; one of scores and at most one embedding"
        )
    for tensor in (scores, *rest):
        if tensor.dtype not in ("float32", "int8", "uint8"):
            raise ConfigError(f"{model}: output {tensor.name!r} is {tensor.dtype}; not supported")
        if tensor.dtype != "float32" and tensor.scale <= 0:
            raise ConfigError(f"{model}: output {tensor.name!r} has no scale and zero point")
    if rest:
        assumed.append(f"output {rest[0].name!r} is an embedding")
    kind = "probabilities" if scores.softmax else "logits"
    made = [evolve(_output(scores, kind), size=len(labels))]
    return (*made, *(_output(t, "embedding") for t in rest))


def _scores(
    model: Path, tensors: tuple[TensorSpec, ...], labels: tuple[str, ...], named: str | None,
    assumed: list[str],
) -> TensorSpec:  # fmt: skip
    """The output with one score for each label, else one that leaves its size open: then the model
    is refused where it is opened, if its scores are not as many. Of several the only one that comes
    from a softmax, else that is called so, unless the user named one."""
    sizes = ", ".join(f"{t.name!r} with {t.size if t.size != UNKNOWN else 'any'}" for t in tensors)
    fitting = [t for t in tensors if t.size in (len(labels), UNKNOWN)]
    if not fitting:
        raise ConfigError(
            f"{model}: {len(labels)} labels, but its outputs are {sizes}; the labels file needs one"
            " line for each score, in their order"
        )
    if named is not None:
        found = [t for t in fitting if t.name == named]
        if not found:
            raise ConfigError(
                f"{model}: --scores {named}: want an output of {len(labels)}, one score for each"
                f" label; its outputs are {sizes}"
            )
        return found[0]
    stated = [t for t in fitting if t.size != UNKNOWN] or fitting
    told = [t for t in stated if t.softmax] or [t for t in stated if _CALLED.search(t.name)]
    scores, *others = told or stated
    if others:
        raise ConfigError(
            f"{model}: which output holds the scores? its outputs are {sizes}; say --scores NAME"
        )
    if len(stated) > 1:
        assumed.append(f"output {scores.name!r} holds the scores (else: --scores NAME)")
    return scores


def _output(tensor: TensorSpec, kind: str) -> Output:
    return Output(
        name=tensor.name,
        dtype=tensor.dtype,
        kind=kind,
        size=tensor.size,
        scale=tensor.scale,
        zero_point=tensor.zero_point,
    )
