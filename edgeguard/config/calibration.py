# SPDX-License-Identifier: Apache-2.0
"""Thresholds, temperatures and fitted arrays from the files that `edgeguard calibrate` writes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import attrs

from edgeguard.card import Card
from edgeguard.config import detector_rules, schema
from edgeguard.config.definition import changes, model_changes, voting
from edgeguard.config.detector_rows import ends
from edgeguard.config.draft import Draft
from edgeguard.config.files import resolve
from edgeguard.config.lines import KeyPath, show
from edgeguard.config.report import Report
from edgeguard.config.structure import ShapeError, number
from edgeguard.config.toml import read
from edgeguard.errors import ConfigError

Fits = dict[tuple[str, str], dict[str, Any]]

_TEMPERATURE = schema.Bounds(low=0.01, high=100.0)
_SHARE = schema.Bounds(above=0.0, high=1.0)
_ANY = schema.Bounds()
OF_DETECTOR = ("scale", "offset", "above", "below")
_UNNAMED = '[guard] names no calibration: write calibration = "calibration.toml" there'


def own_sha256(tables: Mapping[str, Any]) -> str:
    """SHA-256 in hex of what a calibration file says, but for [contents], which holds this hash,
    and [arrays], which states one of its own. Neither comments nor the order of tables count."""
    said = {name: table for name, table in tables.items() if name not in {"contents", "arrays"}}
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()


def stated_sha256(tables: Mapping[str, Any]) -> object:
    """The hash of itself that a file was written with; None in what `edgeguard calibrate` did not
    write."""
    contents = tables.get("contents")
    return contents.get("sha256") if isinstance(contents, dict) else None


def edited(tables: Mapping[str, Any]) -> str | None:
    """Why the numbers of a file cannot be taken for those that were found; None where they can.
    Arrays alone need nothing here: [arrays] states a hash of its own."""
    try:
        own = own_sha256(tables)
    except (ValueError, RecursionError) as error:  # numbers or tables without end
        return f"cannot be computed: {error}"
    stated, detectors = stated_sha256(tables), tables.get("detector")
    if stated is not None:
        wrong = stated != own
        return "is not that of this file: it was changed after it was written" if wrong else None
    of_detectors = detectors.values() if isinstance(detectors, dict) else [detectors]
    numbers = any(not isinstance(d, dict) or set(d) - {"definition"} for d in of_detectors if d)
    if numbers or tables.get("temperature") or tables.get("thresholds"):
        return "missing; nothing says that these numbers are those that were found"
    return None


def arrays_named(tables: Mapping[str, Any]) -> tuple[str, str] | None:
    """The file of the fitted arrays, beside the calibration file, and its SHA-256; None where
    [arrays] is absent or is no table of these texts."""
    table = tables.get("arrays")
    if not isinstance(table, dict):
        return None
    file, stated = table.get("file"), table.get("sha256")
    return (file, stated) if isinstance(file, str) and isinstance(stated, str) else None


class Calibrated(NamedTuple):
    """Temperatures by member, and arrays by (member, feature) or (detector, "risk")."""

    temperatures: dict[str, float]
    fits: Fits


def apply(made: Draft, cards: dict[str, Card]) -> Calibrated:
    """Put the calibrated numbers in place of "calibrated"; returns what has no place there."""
    if made.guard is None:
        return Calibrated({}, {})
    if made.guard.calibration is None:
        for path in wishes(made):
            made.report.add(path, f'is "calibrated", but {_UNNAMED}; run `edgeguard calibrate`')
        for name, _ in _embedded(made):
            made.report.add(
                ("detector", name, "feature"),
                f"has to be fitted, but {_UNNAMED}; run `edgeguard calibrate`",
            )
        _watch(made, {}, _UNNAMED)
        return Calibrated({}, {})
    return _File(made, made.guard.calibration).apply(made, cards)


def _embedded(made: Draft) -> list[tuple[str, tuple[str, str]]]:
    """Detectors of embeddings, each with the arrays that it needs."""
    return [
        (name, (d.member or "", d.feature or ""))
        for name, d in made.detectors.items()
        if d.kind == "embedding"
    ]


def _watch(made: Draft, fits: Fits, why: str) -> None:
    """A risk level over detectors needs the blocks of each of them; those that no track can show,
    of a bus or of pictures that come again, have none."""
    risk = next((name for name, d in made.detectors.items() if d.kind == "risk"), None)
    if risk is None:
        return
    for name, detector in made.detectors.items():
        blocks = fits.get((name, "risk"), {}).get("blocks", ())
        shown = detector.kind not in ("bus", "risk") and detector.feature not in ("echoes", "flips")
        if shown and len(blocks) == 0:
            made.report.add(
                ("detector", risk, "kind"),
                f'is "risk", but [detector.{name}] was not calibrated for it: {why}; run '
                "`edgeguard calibrate`",
            )


def _scores(made: Draft, fits: Fits) -> dict[str, dict[str, Any]]:
    """By detector: its blocks, where a risk level looks at them."""
    if all(detector.kind != "risk" for detector in made.detectors.values()):
        return {}
    blocks = {name: arrays for (name, what), arrays in fits.items() if what == "risk"}
    return {name: arrays for name, arrays in blocks.items() if name in made.detectors}


def wishes(made: Draft) -> list[KeyPath]:
    """Every key that says "calibrated"."""
    found: list[KeyPath] = []
    for name, channel in made.channels.items():
        for operation, demand in channel.demands.items():
            if demand.certainty == "calibrated":
                found.append(("channel", name, operation, "certainty"))
    for name, detector in made.detectors.items():
        found += [
            ("detector", name, key) for key in OF_DETECTOR if getattr(detector, key) == "calibrated"
        ]
    return found


class _File:
    """The calibration file and what is wrong with it."""

    def __init__(self, made: Draft, name: str) -> None:
        self.path: Path = resolve(made.source, name)
        self.raw: dict[str, Any] = {}
        self.readable = False
        try:
            self.raw, lines = read(self.path)
        except ConfigError as error:
            made.report.add(("guard", "calibration"), f"{error}; run `edgeguard calibrate`")
            return
        self.readable = True
        self.report = Report(str(self.path), lines)

    def apply(self, made: Draft, cards: dict[str, Card]) -> Calibrated:
        if not self.readable:
            return Calibrated({}, {})
        wrong = edited(self.raw)
        if wrong:
            self.report.add(("contents", "sha256"), f"{wrong}; run `edgeguard calibrate` again")
        self._models(made, cards)
        fits = self._fits(made, cards)
        self._definitions(made, fits)
        self._votes(made)
        for path in wishes(made):
            value = self._wish(made, path)
            if value is not None:
                _put(made, path, value)
        for name, detector in made.detectors.items():
            detector_rules.order(made, ("detector", name), detector)
        self._scored(made, fits)
        temperatures = self._temperatures(made)
        made.report.merge(self.report)
        return Calibrated(temperatures, fits)

    def _definitions(self, made: Draft, fits: Fits) -> None:
        """What was found for a detector holds for what it measured then."""
        wished = {path[1] for path in wishes(made) if path[0] == "detector" and self._has(path)}
        scored = _scores(made, fits)
        for name, detector in made.detectors.items():
            if name not in wished and name not in scored:
                continue
            there: KeyPath = ("detector", name, "definition")
            before = self.raw["detector"][name]["definition"] if self._has(there) else None
            if not isinstance(before, dict):
                made.report.add(
                    ("detector", name),
                    f"{self.path} does not say what it measured when that was written; run "
                    "`edgeguard calibrate` again",
                )
                continue
            for key, change in changes(detector, before):
                made.report.add(
                    ("detector", name, key),
                    f"{change} when {self.path} was written; run `edgeguard calibrate` again",
                )

    def _votes(self, made: Draft) -> None:
        """A certainty holds for the quorum, and for the members, that it was found with."""
        if len(made.members) < len(made.names["member"]):
            return  # reported already
        for path in wishes(made):
            there: KeyPath = ("thresholds", *path[1:3])
            if path[0] != "channel" or not self._has((*there, "certainty")):
                continue
            name, operation = str(path[1]), str(path[2])
            before = self.raw["thresholds"][name][operation]
            demand = made.channels[name].demands[operation]
            now = voting(name, operation, demand, made.members)
            if not set(now) <= set(before):
                made.report.add(
                    path,
                    f'is "calibrated", but {self.path} does not say for which quorum and members; '
                    "run `edgeguard calibrate` again",
                )
                continue
            again = f"when {self.path} was written; run `edgeguard calibrate` again"
            if now["quorum"] != before["quorum"]:
                was = f"is {now['quorum']}, and was {before['quorum']} {again}"
                made.report.add((*path[:3], "quorum"), was)
            for key, whom in (("granted", f"that may {operation} it"), ("heard", "heard on it")):
                if now[key] != before[key]:
                    was = f"{_named(now[key])}, and were {_named(before[key])} {again}"
                    made.report.add(path, f'is "calibrated", but the members {whom} are {was}')
                    break  # who is not heard is granted nothing

    def _scored(self, made: Draft, fits: Fits) -> None:
        """The scores of a detector's blocks hold for the limits that they were measured from."""
        for name, arrays in _scores(made, fits).items():
            detector = made.detectors[name]
            if "calibrated" in (detector.above, detector.below):
                continue  # no limit was found, which is reported
            before = [*map(int, arrays.get("limits", ())), None, None]
            for side, now, then in zip(("below", "above"), ends(detector), before, strict=False):
                if now != then:
                    made.report.add(
                        ("detector", name, side),
                        "is not the limit that the risk was calibrated with when "
                        f"{self.path} was written; run `edgeguard calibrate` again",
                    )

    def _fits(self, made: Draft, cards: dict[str, Card]) -> Fits:
        """The arrays of [arrays], which must be those that were written with this file."""
        from edgeguard.evidence.embedding import read as read_fits
        from edgeguard.evidence.embedding import wrong_fit

        named = arrays_named(self.raw)
        fits: Fits = {}
        if "arrays" in self.raw and named is None:
            self.report.add(("arrays",), "want a table with the texts file and sha256")
            return {}
        if named is not None:
            try:
                fits = read_fits(self.path.parent / named[0], named[1])
            except ConfigError as error:
                self.report.add(("arrays", "file"), str(error))
                return {}
        for name, key in _embedded(made):
            card = cards.get(key[0])
            output = card.embedding if card is not None else None
            wrong = wrong_fit(fits.get(key), output) if output is not None else None
            if wrong:
                made.report.add(
                    ("detector", name, "feature"),
                    f"{wrong} in {self.path}; run `edgeguard calibrate` again",
                )
        _watch(made, fits, f"{self.path} has no blocks of it")
        return fits

    def _has(self, path: KeyPath) -> bool:
        value: Any = self.raw
        for part in path:
            if not isinstance(value, dict) or part not in value:
                return False
            value = value[part]
        return True

    def _number(self, path: KeyPath, bounds: schema.Bounds) -> float | None:
        """A number that the file has: None when it is wrong, and then reported."""
        value: Any = self.raw
        for part in path:
            value = value[part]
        try:
            return number(value, bounds)
        except ShapeError as wrong:
            self.report.add_all(path, wrong)
            return None

    def _wish(self, made: Draft, path: KeyPath) -> float | None:
        there: KeyPath = path if path[0] == "detector" else ("thresholds", *path[1:])
        if self._has(there):
            return self._number(there, _ANY if path[0] == "detector" else _SHARE)
        made.report.add(
            path,
            f'is "calibrated", but {self.path} has no {show(there)}; run `edgeguard calibrate`',
        )
        return None

    def _temperatures(self, made: Draft) -> dict[str, float]:
        found = {}
        for name in made.members:
            path: KeyPath = ("temperature", name)
            value = self._number(path, _TEMPERATURE) if self._has(path) else None
            if value is not None:
                found[name] = value
        return found

    def _models(self, made: Draft, cards: dict[str, Card]) -> None:
        """Calibrated numbers hold for the very files they were fitted on."""
        for name, card in cards.items():
            table = self.raw.get("model", {})
            entry = table.get(name) if isinstance(table, dict) else None
            stated = entry.get("sha256") if isinstance(entry, dict) else None
            if stated is None:
                self.report.add(
                    ("model", name),
                    f"missing; nothing says that this calibration was made with {card.file};"
                    " run `edgeguard calibrate` again",
                )
            elif stated != card.sha256:
                self.report.add(
                    ("model", name, "sha256"),
                    f"was made with another model file than {card.file}; run `edgeguard calibrate`"
                    " again",
                )
            elif isinstance(entry, dict):
                self._card(name, card, entry)

    def _card(self, name: str, card: Card, entry: Mapping[str, Any]) -> None:
        """And for how these files were fed and read then."""
        if not {"input", "scores", "labels_sha256"} <= set(entry):
            self.report.add(
                ("model", name),
                f"does not say how {card.file} was fed when this was written; run `edgeguard"
                " calibrate` again",
            )
            return
        for key, change in model_changes(card, entry):
            self.report.add(
                ("model", name, key),
                f"{change} when this was written; run `edgeguard calibrate` again",
            )


def _named(members: object) -> str:
    return (", ".join(map(str, members)) or "none") if isinstance(members, list) else str(members)


def _put(made: Draft, path: KeyPath, value: float) -> None:
    name = str(path[1])
    if path[0] == "detector":
        found: dict[str, Any] = {str(path[2]): value}
        made.detectors[name] = attrs.evolve(made.detectors[name], **found)
        return
    channel = made.channels[name]
    key = "raise_" if path[2] == "raise" else "lower"
    demand = attrs.evolve(getattr(channel, key), certainty=value)
    made.channels[name] = attrs.evolve(channel, **{key: demand})
