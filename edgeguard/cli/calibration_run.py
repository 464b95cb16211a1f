# SPDX-License-Identifier: Apache-2.0
"""What `edgeguard calibrate` has to gather: calibration tracks, the members' raw scores on them,
the image features, and what the guard.toml wants to have calibrated."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import numpy.typing as npt

from edgeguard.card import Card
from edgeguard.cli.calibration_arrays import CALIBRATED, distances, has_risk
from edgeguard.config import GuardConfig, model_path, policy_dict
from edgeguard.config import vocabulary as words
from edgeguard.config.calibration import OF_DETECTOR
from edgeguard.config.definition import voting
from edgeguard.config.fixed import ONE
from edgeguard.errors import ConfigError, ModelRefused
from edgeguard.evidence.calibration import Detector, Member, Operation
from edgeguard.evidence.conformal import Debounce
from edgeguard.evidence.history import changes_along
from edgeguard.evidence.tracks import Tracks
from edgeguard.npz import read_npz

Array = npt.NDArray[Any]
Ints = npt.NDArray[np.int64]

FEW_TRACKS = 3  # of a class: fewer say nothing about it
FROM_FRAMES = ("image", "score", "embedding", "history")  # kinds that calibration tracks show


@dataclass(frozen=True)
class Data:
    """Calibration frames in driving order: x uint8 [N, H, W, 3] RGB, y [N], track key [N]."""

    x: npt.NDArray[np.uint8]
    y: Ints
    track: Ints


def read_fit_data(path: Path, split: Path, data: Data) -> Data:
    """What embeddings are fitted to: every third training frame of a folder, since neighbours are
    alike, or the fitting half of the tracks of a file."""
    if not path.is_dir():
        fit, _ = Tracks.of(data.track).halves()
        return Data(data.x[fit], data.y[fit], data.track[fit])
    from edgeguard.lab.zoo import data as gtsrb

    images, _ = gtsrb.split(gtsrb.load_train(gtsrb.data_root(path)), gtsrb.read_split(split))
    return Data(images.x[::3], images.y[::3], images.track[::3])


def read_data(path: Path, split: Path) -> Data:
    """Read an npz with x, y, track (and frame), or the calibration tracks of a GTSRB folder.

    Raises ConfigError that names the file and what is wrong with it.
    """
    if path.is_dir():
        return _read_folder(path, split)
    file = read_npz(path)
    missing = [key for key in ("x", "y", "track") if key not in file]
    if missing:
        raise ConfigError(f"{path}: has no array {', '.join(missing)}; {_FORMAT}")
    y = np.atleast_1d(file["y"])
    return _checked(path, file["x"], y, (file["track"], file.get("frame", np.arange(len(y)))))


_FORMAT = "want x uint8 [N, H, W, 3] RGB, y [N] and track [N] whole numbers, in driving order"


def _checked(path: Path, x: Array, y: Array, order: tuple[Array, Array]) -> Data:
    track, frame = order
    if x.ndim != 4 or x.shape[3] != 3 or x.dtype != np.uint8:
        raise ConfigError(f"{path}: x is {x.dtype} {list(x.shape)}; {_FORMAT}")
    for name, array in (("y", y), ("track", track), ("frame", frame)):
        if array.dtype.kind not in "iu" or array.ndim != 1:
            raise ConfigError(f"{path}: {name} is {array.dtype} {list(array.shape)}; {_FORMAT}")
    if len(x) == 0:
        raise ConfigError(f"{path}: holds no frames; {_FORMAT}")
    if {len(y), len(track), len(frame)} != {len(x)}:
        raise ConfigError(f"{path}: x, y, track and frame are not equally long; {_FORMAT}")
    back = (np.diff(frame.astype(np.int64)) <= 0) & (np.diff(track.astype(np.int64)) == 0)
    if back.any():
        raise ConfigError(
            f"{path}: frame {int(np.argmax(back)) + 1} does not follow the one before it; {_FORMAT}"
        )
    return Data(x, y.astype(np.int64), track.astype(np.int64))


def _read_folder(path: Path, split: Path) -> Data:
    if not (path / "gtsrb").is_dir():  # a folder of pictures, for one: nobody knows their classes
        raise ConfigError(f"{path}: a folder without gtsrb/ in it; else give an .npz: {_FORMAT}")
    if not split.is_file():
        raise ConfigError(f"{split}: no such file; --split names the calibration tracks of {path}")
    from edgeguard.lab.zoo import data as gtsrb

    try:
        keys = gtsrb.read_split(split)
        images = gtsrb.load_train(gtsrb.data_root(path))
    except (OSError, KeyError, ValueError) as error:
        raise ConfigError(f"{path}: {error}") from None
    _, held = gtsrb.split(images, keys)
    if len(held) == 0:
        raise ConfigError(f"{path}: holds none of the calibration tracks of {split}")
    return Data(held.x, held.y, held.track)


def rare_classes(y: Ints, tracks: Tracks) -> tuple[int, int]:
    """How many classes have fewer than FEW_TRACKS tracks, of how many: labels of frames [N]."""
    _, counts = np.unique([y[track.start] for track in tracks.slices()], return_counts=True)
    return int((counts < FEW_TRACKS).sum()), len(counts)


def split_file(cfg: GuardConfig, cards: Mapping[str, Card]) -> Path:
    """The split.json beside the first member's model."""
    name, card = next(iter(cards.items()))
    return model_path(cfg, name, card).with_name("split.json")


def provisional_policy(cfg: GuardConfig, cards: Mapping[str, Card]) -> dict[str, Any]:
    """The policy's integers with something harmless wherever guard.toml says "calibrated"."""
    channels = {
        name: attrs.evolve(c, raise_=_demand(c.raise_), lower=_demand(c.lower))
        for name, c in cfg.channels.items()
    }
    detectors = {
        name: attrs.evolve(d, **{key: _number(getattr(d, key)) for key in OF_DETECTOR})
        for name, d in cfg.detectors.items()
    }
    return policy_dict(attrs.evolve(cfg, channels=channels, detectors=detectors), cards)


def _demand(demand: Any) -> Any:
    return attrs.evolve(demand, certainty=1.0) if demand.certainty == CALIBRATED else demand


def _number(limit: Any) -> Any:
    return 0.0 if limit == CALIBRATED else limit


def only_camera(cfg: GuardConfig) -> str:
    """The camera whose frames the data are. Raises ConfigError unless all members share one."""
    named = [m.camera for m in cfg.members.values()] + [d.camera for d in cfg.detectors.values()]
    used = {name for name in named if name is not None}
    if len(used) != 1:
        raise ConfigError(
            f"{cfg.source}: members and detectors look through {', '.join(sorted(used))}; "
            "calibrate takes tracks of one camera: calibrate one guard.toml for each"
        )
    return used.pop()


@dataclass(frozen=True)
class Answers:
    """What members said, frame by frame: raw scores [N, n] and embeddings [N, d] by member, image
    features [N, 5] in Q16.16; and the track of each frame [N]."""

    scores: dict[str, Array]
    embeddings: dict[str, Array]
    features: Ints
    track: Ints


def run_members(
    cfg: GuardConfig, cards: Mapping[str, Card], data: Data, tick: Callable[[], None]
) -> Answers:
    """Run all members on all frames, preprocessed as the guard does it.

    ``tick`` is called for each frame. Raises ConfigError or ModelRefused.
    """
    from edgeguard.inference.model import load_model
    from edgeguard.intake.camera import Camera
    from edgeguard.intake.preprocess import InputSpec

    opened: dict[str, Any] = {}
    try:
        for name, member in cfg.members.items():
            if member.runtime == "external":
                raise ConfigError(
                    f'{cfg.source}: member.{name}.runtime: is "external"; calibrate has to run the '
                    "model: name it and its runtime"
                )
            providers = member.providers or member.delegates
            path = model_path(cfg, name, cards[name])
            opened[name] = load_model(cards[name], path, member.runtime, providers)
        tensors: dict[Any, Array] = {}
        for name, model in opened.items():
            shared = tensors.setdefault(InputSpec.of(cards[name].input), model.input)
            if shared is not model.input:
                model.bind_input(shared)
        return _run(opened, Camera(tensors, "RGB"), data, tick)
    except ValueError as error:
        raise ModelRefused(f"{cfg.source}: {error}") from error
    finally:
        for model in opened.values():
            model.close()


def members_of(
    cfg: GuardConfig, cards: Mapping[str, Card], scores: Mapping[str, Array]
) -> list[Member]:
    """The members with their raw scores, as calibration takes them."""
    rows = provisional_policy(cfg, cards)["members"]
    return [_member(row, cards[row["name"]], scores[row["name"]]) for row in rows]


def _run(opened: Mapping[str, Any], camera: Any, data: Data, tick: Callable[[], None]) -> Answers:
    frames = len(data.x)
    scores = {
        name: np.empty((frames, model.scores.size), model.scores.dtype)
        for name, model in opened.items()
    }
    embeddings = {
        name: np.empty((frames, model.embedding.size), model.embedding.dtype)
        for name, model in opened.items()
        if model.embedding is not None
    }
    features = np.empty((frames, len(words.IMAGE_FEATURES)), np.int64)
    for i, picture in enumerate(data.x):
        health, *_ = camera.look(np.ascontiguousarray(picture))
        features[i] = np.rint(np.asarray(health.features, np.float64) * ONE)
        for name, model in opened.items():
            model.run()
            scores[name][i] = model.scores
            if name in embeddings:
                embeddings[name][i] = model.embedding
        tick()
    return Answers(scores, embeddings, features, data.track)


def _member(row: Mapping[str, Any], card: Card, scores: Array) -> Member:
    spec = row["scores"]
    limits = {key: row[key] for key in ("max_rail", "min_distinct", "sum_min", "sum_max")}
    return Member(
        name=row["name"],
        scores=scores,
        kind=spec["kind"],
        scale=spec["scale"],
        zero_point=spec["zero_point"],
        sha256=card.sha256,
        limits=limits,
    )


def operations(cfg: GuardConfig) -> list[Operation]:
    """The operations whose certainty is "calibrated". Raises ConfigError for value channels."""
    found = []
    for name, channel in cfg.channels.items():
        for operation, demand in channel.demands.items():
            if demand.certainty != CALIBRATED:
                continue
            if channel.kind != "label":
                raise ConfigError(
                    f"{cfg.source}: channel.{name}.{operation}.certainty: continuous members state "
                    "no certainty to calibrate; give a number"
                )
            who = voting(name, operation, demand, cfg.members)
            found.append(Operation(name, operation, **who))
    return found


def detectors(
    cfg: GuardConfig, policy: Mapping[str, Any], said: Answers, rate: float | None,
    cards: Mapping[str, Card], fits: Mapping[tuple[str, str], Mapping[str, Array]],
) -> list[Detector]:  # fmt: skip
    """The detectors with a "calibrated" limit; ``rate`` replaces their own false trips per hour.

    Where the guard watches its detectors over time, those with a limit of their own as well.
    """
    found = []
    for name, detector in cfg.detectors.items():
        sides = tuple(s for s in ("above", "below") if getattr(detector, s) == CALIBRATED)
        if detector.kind not in FROM_FRAMES or not (sides or has_risk(cfg)):
            continue
        if detector.feature in ("echoes", "flips"):
            continue  # pictures that come again are no matter of tracks
        cause = policy["causes"][words.CAUSES.index(detector.raises)]
        found.append(
            Detector(
                name=name,
                sides=sides,
                debounce=Debounce(cause["on_us"], cause["off_us"]),
                max_false_trips_per_hour=rate or detector.max_false_trips_per_hour or 0.0,
                source=detector.member or "",
                feature=detector.feature or "",
                **_numbers(cfg, detector, said, cards, fits),
            )
        )
    return found


def _numbers(
    cfg: GuardConfig, detector: Any, said: Answers, cards: Mapping[str, Card],
    fits: Mapping[tuple[str, str], Any],
) -> dict[str, Any]:  # fmt: skip
    if detector.kind == "image":
        return {"values": said.features[:, words.IMAGE_FEATURES.index(detector.feature)]}
    if detector.kind == "score":
        return {}
    if detector.kind == "history":
        tracks, rate_hz = Tracks.of(said.track).slices(), cfg.cameras[only_camera(cfg)].rate_hz
        return {"measure": lambda e: ONE * changes_along(e["label"], tracks, rate_hz)}
    member, feature = detector.member, detector.feature
    embeddings = said.embeddings[member]
    output, fit = cards[member].embedding, fits[member, feature]
    return {"measure": distances(output, fit, feature, embeddings)}
