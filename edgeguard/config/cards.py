# SPDX-License-Identifier: Apache-2.0
"""The members' model cards, and what they and guard.toml must agree on. No ML runtime needed."""

from __future__ import annotations

import hashlib
from pathlib import Path

from edgeguard.card import SUFFIX, Card, card_path
from edgeguard.config import schema
from edgeguard.config.draft import Draft
from edgeguard.config.files import resolve
from edgeguard.config.lines import KeyPath, show
from edgeguard.config.structure import meant
from edgeguard.config.vocabulary import BOXES, LEAST_SIDE, MOST_LABELS
from edgeguard.errors import ConfigError


def card_of(source: Path, member: schema.Member) -> Card:
    """Read a member's card; raises ConfigError."""
    return Card.load(card_file(source, member))


def card_file(source: Path, member: schema.Member) -> Path:
    """Where a member's card lies: the one named, or beside its model, which `package:gtsrb/plain`
    names without a suffix. Raises ConfigError when there is none."""
    if member.card is not None:
        return resolve(source, member.card)
    model = resolve(source, member.model or "")
    named = model.with_name(model.name + SUFFIX)
    return named if named.is_file() else card_path(model)


def model_path(source: Path, member: schema.Member, card: Card) -> Path:
    """The model file of a member: the one named, or the one that its card was written for."""
    if member.model is None:
        return card.model_path
    path = resolve(source, member.model)
    return path if path.suffix in (".onnx", ".tflite") else card.model_path


def check(made: Draft, files: bool) -> dict[str, Card]:
    """Read the cards and report disagreements; with `files`, what they name is hashed."""
    cards: dict[str, Card] = {}
    for name, member in made.members.items():
        key = "model" if member.card is None else "card"
        if (member.model or member.card) is None:
            continue
        at: KeyPath = ("member", name, key)
        try:
            cards[name] = card_of(made.source, member)
        except ConfigError as error:
            made.report.add(at, str(error))
            continue
        _numbers(made, at, cards[name])
        _member(made, name, member, cards[name])
        if files and member.runtime != "external":
            _files(made, at, model_path(made.source, member, cards[name]), cards[name])
    _labels(made, cards)
    _embeddings(made, cards)
    _histories(made, cards)
    _scores(made, cards)
    if len(cards) == len(made.names["member"]):
        _means(made, cards)
    return cards


def _numbers(made: Draft, at: KeyPath, card: Card) -> None:
    """The card's numbers must survive the way into the core: floats of 32 bits, Q16.16."""
    for key, value, low, high in (
        ("temperature", card.temperature, 0.01, 100.0),
        ("outputs.scale", card.scores.scale or 1.0, 1e-9, 1e6),
        # more than the scores can show is SCORE_INSANE for ever; they are counted up to 3
        ("min_distinct", card.distinct_needed, 0, min(3, card.scores.size)),
        *(("value_range", end, -32767.0, 32767.0) for end in card.value_range or ()),
    ):
        if not low <= value <= high:
            made.report.add(
                at, f"the card's {key} is {value:g}; it must lie between {low:g} and {high:g}"
            )


def _member(made: Draft, name: str, member: schema.Member, card: Card) -> None:
    runtime: KeyPath = ("member", name, "runtime")
    fits = member.runtime.replace("tflite", "litert") in (card.runtime, "external")
    if not fits and not made.report.about(runtime):
        made.report.add(
            runtime,
            f'is "{member.runtime}", but the card says that {card.file} runs on "{card.runtime}"',
        )
    for key in ("max_rail", "min_distinct"):
        asked = getattr(member, key)
        if asked is not None and asked > card.scores.size:
            scores = "1 score" if card.scores.size == 1 else f"{card.scores.size} scores"
            made.report.add(
                ("member", name, key), f"is {asked}, but the model has {scores}; ask for no more"
            )
    if member.runtime != "external" and card.input.layout == "VECTOR":
        made.report.add(
            ("member", name, "camera"),
            f"{card.file} takes a VECTOR, which no camera gives; run it in your own loop, with"
            ' runtime = "external" here',
        )
    wanted = "label" if card.task == "classifier" else "value"
    if wanted == "value" and len(member.may_suggest.operations) > 1:
        made.report.add(
            ("member", name, "may_suggest"),
            f"{card.file} says one value, which cannot be meant for {_and(member)}; name one"
            " channel, and split the model's head to make a member for each",
        )
    for channel in member.may_suggest.operations:
        found = made.channels.get(channel)
        if found and found.kind != wanted:
            made.report.add(
                ("member", name, "may_suggest"),
                f"{card.file} is a {card.task}, but [channel.{channel}] is of kind"
                f' "{found.kind}"; it needs kind = "{wanted}"',
            )
        if found and card.task == "regressor" and card.unit not in ("", found.unit):
            made.report.add(
                ("member", name, "may_suggest"),
                f"{card.file} answers in {card.unit}, [channel.{channel}] is in {found.unit}",
            )


def _and(member: schema.Member) -> str:
    return " and ".join(f"[channel.{name}]" for name in member.may_suggest.operations)


def _embeddings(made: Draft, cards: dict[str, Card]) -> None:
    for name, detector in made.detectors.items():
        card = cards.get(detector.member or "") if detector.kind == "embedding" else None
        if card is not None and card.embedding is None:
            made.report.add(
                ("detector", name, "member"),
                f"{card.file} gives no embedding; export its last hidden layer as a second output",
            )
        elif card is not None and detector.feature == BOXES and card.task != "classifier":
            made.report.add(
                ("detector", name, "feature"),
                f'is "{BOXES}", one for each class, but {card.file} is a {card.task}',
            )


def _histories(made: Draft, cards: dict[str, Card]) -> None:
    for name, detector in made.detectors.items():
        card = cards.get(detector.member or "") if detector.kind == "history" else None
        if card is None:
            continue
        if detector.feature != "echoes" and card.task != "classifier":
            made.report.add(
                ("detector", name, "feature"),
                f'is "{detector.feature}", but {card.file} is a {card.task} and gives no label; a'
                ' value that jumps is an association: relation = "rate"',
            )
        size = card.input.size
        if detector.feature != "changes" and (len(size) < 2 or min(size) < LEAST_SIDE):
            made.report.add(
                ("detector", name, "member"),
                f"{card.file} looks at no picture of at least {LEAST_SIDE} x {LEAST_SIDE} pixels",
            )


def _scores(made: Draft, cards: dict[str, Card]) -> None:
    """What is the same number for every answer can never trip."""
    for name, detector in made.detectors.items():
        card = cards.get(detector.member or "") if detector.kind == "score" else None
        if card is not None and card.task != "classifier":
            made.report.add(
                ("detector", name, "kind"),
                f'is "score", but {card.file} is a {card.task}: it says no certainty',
            )
        elif card is not None and detector.feature == "energy" and card.scores.kind != "logits":
            made.report.add(
                ("detector", name, "feature"),
                f'is "energy", which takes logits; {card.file} gives {card.scores.kind}',
            )


def _files(made: Draft, at: KeyPath, model: Path, card: Card) -> None:
    """The model file and the golden vectors are those that the card describes."""
    described = [(model, card.sha256)]
    if card.golden is not None:
        described.append((card.directory / card.golden.file, card.golden.sha256))
    for path, stated in described:
        try:
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except OSError as error:
            made.report.add(at, f"{path}: {(error.strerror or str(error)).lower()}")
            continue
        if digest != stated:
            made.report.add(
                at,
                f"{path}: is not the file that its card describes (SHA-256 {digest[:12]}..., card"
                f" {stated[:12]}...); restore it, or write a new card with `edgeguard init`",
            )


def label_list(cards: dict[str, Card]) -> tuple[str, ...]:
    """The classifiers' common labels, in the order of their scores."""
    return next((card.labels for card in cards.values() if card.task == "classifier"), ())


def _labels(made: Draft, cards: dict[str, Card]) -> None:
    labels = label_list(cards)
    first = next((n for n, card in cards.items() if card.task == "classifier"), "")
    for name, card in cards.items():
        key = "card" if made.members[name].card is not None else "model"
        if card.task == "classifier" and card.labels != labels:
            made.report.add(
                ("member", name, key),
                f"{card.file} has other labels than [member.{first}]; votes are counted by label,"
                " so all classifiers need the same list",
            )
        twice = sorted({x for x in card.labels if card.labels.count(x) > 1})
        if twice and _named(made, twice):
            made.report.add(
                ("member", name, key),
                f'{card.file} has the label "{twice[0]}" twice; `means` could not tell them apart',
            )
        if len(card.labels) > MOST_LABELS:
            made.report.add(("member", name, key), f"more than {MOST_LABELS} labels")


def _named(made: Draft, labels: list[str]) -> bool:
    return any(label in channel.means for channel in made.channels.values() for label in labels)


def _means(made: Draft, cards: dict[str, Card]) -> None:
    labels = label_list(cards)
    owner: dict[str, str] = {}
    for name, channel in made.channels.items():
        for label, value in channel.means.items():
            at: KeyPath = ("channel", name, "means", label)
            if channel.kind == "label" and label not in labels:
                hint = meant(label, labels) or "see `labels` in the card"
                made.report.add(at, f"no model has this class; {hint}")
            if value == "hold":
                continue
            if label in owner:
                made.report.add(
                    at,
                    f"already commands {show(('channel', owner[label]))}; a class commands one"
                    " channel",
                )
            owner[label] = name
