# SPDX-License-Identifier: Apache-2.0
"""From trained networks to what the runtime loads: int8 file, float twin, card, golden vectors."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from edgeguard.errors import EdgeguardError
from edgeguard.lab.drive import nets, record, train
from edgeguard.lab.drive.nets import KINDS, Kind
from edgeguard.lab.zoo import quantize_onnx, runners
from edgeguard.lab.zoo.cards import all_or_none, write_json
from edgeguard.lab.zoo.make import checkpoint_of
from edgeguard.streams.loops.tracks import HELD, TRAIN

STEPS, EPOCHS, SEED = 700, 24, 0
GOLDEN = 8
CALIBRATES = 400  # frames, and as many mirrored
SCALE = 1 / 128
"""Of the steering, with zero point 0: from -1 to 127/128. No raw answer is beyond the declared
range, so a network that wants more than full lock says full lock, and is not insane."""
CONVERTERS = ("litert_torch", "ai_edge_quantizer")
U8 = npt.NDArray[np.uint8]


def make(names: tuple[str, ...], work: Path, out: Path, epochs: int = EPOCHS) -> None:
    """Record, train and write members of the driving zoo. work: keeps frames and checkpoints, those
    of another number of epochs than EPOCHS apart. Raises EdgeguardError for a checkpoint that was
    made with another recipe or other frames, and, before anything is made, where what writes a
    member's file is not installed."""
    _check_converters(names)
    frames, steering = record.cached(work, "train", TRAIN, STEPS)
    held_frames, held_steering = record.cached(work, "held", HELD, STEPS)
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        kind = KINDS[name]
        x, held = train.inputs(kind, frames), train.inputs(kind, held_frames)
        checkpoint = checkpoint_of(name, None if epochs == EPOCHS else epochs, work)
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        run = train.Run(kind, x, steering, epochs, SEED)
        trained = train.train(run, (held, held_steering), checkpoint)
        card = publish(kind, trained, x, (held, held_steering), epochs, out)
        print(f"{name}: {card['accuracy']}")


def _check_converters(names: tuple[str, ...]) -> None:
    """Training takes an hour, and only what follows it needs them."""
    need = [n for n in names if KINDS[n].runtime == "litert"]
    lacking = [package for package in CONVERTERS if find_spec(package) is None]
    if need and lacking:
        others = " ".join(n for n in KINDS if KINDS[n].runtime != "litert")
        raise EdgeguardError(f"{', '.join(need)}: is written with {' and '.join(lacking)}; pip "
                             "install 'edgeguard-monitor[lab-tflite]', or make the others alone: "
                             f"edgeguard lab train drive {others}")  # fmt: skip


def publish(
    kind: Kind, trained: train.Trained, x: U8, on: tuple[U8, npt.NDArray[np.float32]], epochs: int,
    out: Path,
) -> dict[str, Any]:  # fmt: skip
    """Write every file of one member into ``out``, all or none, and return its card. x: what it was
    trained on, which also calibrates the int8 file; on: held frames and their steering, to report
    on."""
    with all_or_none(out) as workshop:
        return make_files(kind, trained, x, on, epochs, workshop)


def make_files(
    kind: Kind, trained: train.Trained, x: U8, on: tuple[U8, npt.NDArray[np.float32]], epochs: int,
    out: Path,
) -> dict[str, Any]:  # fmt: skip
    """Write int8 file, float twin, golden vectors and card."""
    held, wanted = on
    suffix = "tflite" if kind.runtime == "litert" else "onnx"
    twin, file = out / f"{kind.name}.float.{suffix}", out / f"{kind.name}.{suffix}"
    found = export(kind, trained.net, twin, file, x)
    said = (_steering(file, held) - found["scores"][1]) * found["scores"][0]
    golden = _golden(file, held, out / f"{kind.name}.golden.npz", kind)
    card = {
        "name": kind.name, "task": "regressor", "runtime": kind.runtime, "file": file.name,
        "sha256": runners.digest(file), "float_twin": twin.name,
        "float_twin_sha256": runners.digest(twin), "bytes": file.stat().st_size,
        "parameters": nets.parameters(trained.net), "value_range": [-1.0, 1.0], "unit": "rad",
        "input": _input(kind, found["image"]), "outputs": _outputs(trained, found),
        "golden": {"file": golden.name, "sha256": runners.digest(golden), "inputs": GOLDEN},
        "training": {
            "data": f"CarRacing-v3 (gymnasium), seeds {TRAIN[0]}-{TRAIN[-1]}, steering of the rule",
            "frames": len(x), "epochs": epochs, "seed": SEED,
            "adversarial_radius_255": kind.radius, "seconds": round(trained.seconds, 1),
        },
        "accuracy": {
            "data": f"seeds {HELD[0]}-{HELD[-1]}", "n": len(held),
            "float_rms": round(trained.held_rms, 4),
            "int8_rms": round(float(np.sqrt(((said - wanted) ** 2).mean())), 4),
        },
    }  # fmt: skip
    write_json(out / f"{kind.name}.card.json", card)
    return card


def export(kind: Kind, net: nets.Steerer, twin: Path, file: Path, x: U8) -> dict[str, Any]:
    """Float twin and int8 file; returns scale and zero point of the ends by name. The tracks lead
    to the left more often than not, so mirrored frames calibrate as well."""
    some = x[:: max(1, len(x) // CALIBRATES)]
    pictures = np.concatenate([some, some[..., ::-1]])
    if kind.runtime == "onnx":
        quantize_onnx.export_float(net, twin, pictures.shape[1:])
        quantize_onnx.quantize_onnx(twin, file, runners.to_float(pictures))
        full_range_onnx(file)
        return dict(quantize_onnx.quantization(file))
    from edgeguard.lab.zoo import quantize_tflite

    last = np.ascontiguousarray(pictures.transpose(0, 2, 3, 1))
    quantize_tflite.export_float(net, twin, last.shape[1:])
    quantize_tflite.quantize_tflite(twin, file, runners.to_float(last))
    full_range_tflite(file)
    return dict(quantize_tflite.quantization(file))


def full_range_onnx(file: Path) -> None:
    """Give the steering of an int8 file all of [-1, 1], whatever the calibration frames ask for."""
    model = onnx.load(str(file))
    last = next(n for n in model.graph.node if n.output[0] == quantize_onnx.SCORES)
    ends = {last.input[1]: np.array(SCALE, np.float32), last.input[2]: np.array(0, np.int8)}
    for tensor in model.graph.initializer:
        if tensor.name in ends:
            tensor.CopyFrom(numpy_helper.from_array(ends[tensor.name], tensor.name))
    quantize_onnx.save(model, file)


def full_range_tflite(file: Path) -> None:
    """The same."""
    from edgeguard.lab.zoo import quantize_tflite

    model = quantize_tflite.read(file.read_bytes())
    full_range(model)
    file.write_bytes(quantize_tflite.written(model))


def full_range(model: Any) -> None:
    """The same, of the tree of a TFLite file. Its arrays are views of the bytes that were read, and
    cannot be written to."""
    graph = model.subgraphs[0]
    (scores,) = [graph.tensors[i] for i in graph.outputs
                 if graph.tensors[i].name == quantize_onnx.SCORES.encode()]  # fmt: skip
    scores.quantization.scale = np.array([SCALE], np.float32)
    scores.quantization.zeroPoint = np.array([0], np.int64)


def _fed(file: Path, pictures: U8) -> U8:
    """In the layout of the file's runtime; `runners` take pictures as NHWC."""
    return np.ascontiguousarray(pictures.transpose(0, 2, 3, 1))


def _steering(file: Path, pictures: U8) -> npt.NDArray[np.float64]:
    """Raw answers of the int8 file [N]."""
    return runners.run(file, _fed(file, pictures))[0].reshape(-1).astype(np.float64)


def _golden(file: Path, pictures: U8, to: Path, kind: Kind) -> Path:
    """Inputs as fed to the model, and its raw answers."""
    chosen = pictures[np.linspace(0, len(pictures) - 1, GOLDEN).astype(int)]
    scores = runners.run(file, _fed(file, chosen))[0]
    x = runners.to_int8(chosen if kind.runtime == "onnx" else _fed(file, chosen))
    np.savez_compressed(to, x=x, scores=scores)
    return to


def _input(kind: Kind, affine: tuple[float, int]) -> dict[str, Any]:
    return {
        "name": "image", "layout": "CHW" if kind.runtime == "onnx" else "HWC", "dtype": "int8",
        "scale": affine[0], "zero_point": affine[1], "size": list(kind.size),
        "colour": kind.colour, "resize": "area", "fit": "stretch",
        **({"mean": [0.0], "std": [1.0]} if kind.colour == "GRAY" else {}),
    }  # fmt: skip


def _outputs(trained: train.Trained, found: dict[str, Any]) -> list[dict[str, Any]]:
    sizes = (("scores", "value", 1), ("embedding", "embedding", trained.net.head.in_features))
    return [
        {
            "name": name, "kind": what, "dtype": "int8", "scale": found[name][0],
            "zero_point": found[name][1], "size": size,
        }
        for name, what, size in sizes
    ]  # fmt: skip
