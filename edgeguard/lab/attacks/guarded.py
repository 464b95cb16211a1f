# SPDX-License-Identifier: Apache-2.0
"""The whole guard as a differentiable loss: preprocessing, members, detectors, thresholds, vote.

For the attacks it is a classifier of two classes: 0, nothing happens; 1, a command above what is in
force is accepted. The score of class 1 is a margin: how far the weakest part of the guard is from
giving way. It is positive where every part does and the real guard (`guard_box`), which is asked
then, moves: so all attacks here work on it as they are, and none stops before that.

Thresholds, quorums, grants, temperatures and limits are those of guard.toml, as the core has them.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from edgeguard.config import GuardConfig, load, load_cards, model_path, policy_dict
from edgeguard.config.fixed import ONE
from edgeguard.errors import EdgeguardError
from edgeguard.lab.attacks.guard_box import GuardBox, Verdict, borne, raised
from edgeguard.lab.attacks.threat import LEVELS
from edgeguard.lab.attacks.victim import U8, Ints, Victim, hold, to_pixels
from edgeguard.lab.surrogate_layers import floored, rounded
from edgeguard.lab.zoo.vote import Demand, demands

EDGE = 0.02  # how far beyond its edge a part is pushed, in the unit of its margin
REFUSED = 1e-3  # below 0 lie the margins of pictures that the real guard refuses


class GuardedTarget:
    """A guard whose members look through one camera and vote on one channel of labels."""

    def __init__(
        self, policy: str | Path, pixels: U8, victims: Mapping[str, Victim] | None = None
    ) -> None:
        """pixels: pictures uint8 [N, C, H, W] to hold each surrogate against its file on; victims:
        members, by name, for which that is done.

        Raises SurrogateDisagrees (E2), ModelRefused, or EdgeguardError for a detector that this
        loss does not know: an attack that leaves out a part would be too weak.
        """
        self.config: GuardConfig = load(policy)
        self.policy = Path(policy)
        cards = load_cards(self.config)
        table = policy_dict(self.config, cards)
        self._rows = {row["name"]: row for row in table["members"]}
        made = dict(victims or {})
        files = {name: model_path(self.config, name, card) for name, card in cards.items()}
        for name in files.keys() - made.keys():
            hold(files[name], cards[name])
        self.victims = {
            name: made.get(name) or Victim(files[name], pixels, card)
            for name, card in cards.items()
        }
        self._cards, self._table = cards, table
        self._demands = demands(self.config, table)
        channel = next(i for i, c in enumerate(self.config.channels.values()) if c.kind == "label")
        self.value = np.array([
            r["value"] / ONE if r["channel"] == channel else np.nan for r in table["labels"]
        ])  # fmt: skip
        heat = {name: row["scores"]["temperature"] for name, row in self._rows.items()}
        bare = {name for name, row in self._rows.items() if row["scores"]["kind"] != "logits"}
        self._detectors = _detectors(self.config, heat, bare)

    def row(self, member: str) -> Mapping[str, Any]:
        """What the core's policy says of a member."""
        return self._rows[member]

    def state(self) -> bytes:
        """What an answer depends on besides guard.toml and the models: what the cards say of
        tensors, the core's policy with all that was calibrated, the arrays of detectors."""
        tensors = [(card.input, card.scores, card.embedding) for card in self._cards.values()]
        parts = [repr((self._table, tensors)).encode()]
        for of, fit in sorted(self.config.fits.items()):
            for name, array in sorted(fit.items()):
                parts += [repr((of, name, array.dtype, array.shape)).encode(), array.tobytes()]
        return b"".join(parts)

    @property
    def quorum(self) -> int:
        """Of the operation that demands least."""
        return min(demand.quorum for demand in self._demands.values())

    def above(self, command: float) -> Bound:
        """The guard while this command is in force: dangerous is what raises it."""
        with np.errstate(invalid="ignore"):
            dangerous = np.flatnonzero(self.value > command + 1e-3)
        if len(dangerous) == 0:
            raise EdgeguardError(f"{self.policy}: no label commands more than {command:g}")
        return Bound(self, torch.from_numpy(dangerous))

    def margins(self, x: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """How far [N, K] each class is from being accepted (vote), and how far [N, D] each
        detector is from tripping; positive: it gives way."""
        said, embeddings = {}, {}
        for name, victim in self.victims.items():
            card = self._cards[name]
            if card.embedding is not None:
                scores, embedding = victim.surrogate.both(
                    victim.pixels(x), card.scores.name, card.embedding.name
                )
                embeddings[name] = embedding
            else:
                scores = victim.scores(x)
            said[name] = scores
        heats = {name: row["scores"]["temperature"] for name, row in self._rows.items()}
        vote = self._vote([said[n] / heats[n] for n in self.victims], classes)
        trips = [d(x, said, embeddings) for d in self._detectors]
        limits = torch.stack(trips, 1) if trips else torch.ones(len(x), 1)
        return vote, limits

    def _vote(self, logits: list[Tensor], classes: Tensor) -> Tensor:
        """How far each class is from what the core asks of the members [N, K]: a quorum of them,
        certain and granted to raise, none that is not, and more than name any other label."""
        demand = self._demands["raise"]
        granted = torch.from_numpy(demand.granted)
        voters = granted | torch.from_numpy(self._demands["lower"].granted)
        named = torch.stack([_named(z) for z in logits], 2)
        sure = torch.stack([log_odds(z, classes) for z in logits], 2) - _asked(demand)
        support = torch.minimum(sure, named[:, classes]).masked_fill(~granted, -torch.inf)
        parts = [support.topk(demand.quorum, 2).values, -named[:, classes][:, :, voters & ~granted]]
        if 2 * demand.quorum <= int(voters.sum()):  # else the quorum is a majority
            parts.append(_plurality(named[:, :, voters], classes)[:, :, None])
        return _all(torch.cat(parts, 2))


def _asked(demand: Demand) -> float:
    """The log odds of the certainty that is asked for."""
    certainty = demand.certainty / ONE
    return float(np.log(certainty / (1 - certainty))) if certainty < 1 else 20.0


def _named(logits: Tensor) -> Tensor:
    """How far each class is ahead of all others, [N, n]; above 0: it is the label."""
    first, second = logits.topk(2, 1).values.split(1, 1)
    return logits - torch.where(logits == first, second, first)


def _plurality(named: Tensor, classes: Tensor) -> Tensor:
    """How far each class is from being named by more members than any other [N, K], of how far a
    member is from naming each [N, n, M]: some number of members name it, and fewer any other."""
    ranked = named.sort(2, descending=True).values
    ways = []
    for many in range(named.shape[2]):
        mine, others = ranked[:, classes, many], -ranked[:, :, many]
        if many < named.shape[2] // 2:  # more than half of them leave no others
            rest = others.topk(2, 1, largest=False)
            least, next_least = rest.values.split(1, 1)
            held = torch.where(rest.indices[:, :1] == classes, next_least, least)
            mine = torch.minimum(mine, held)
        ways.append(mine)
    return torch.stack(ways, 2).amax(2)


def _all(margins: Tensor) -> Tensor:
    """One margin of several that must all give way: the sum of what is missing; when nothing is,
    the least of them."""
    missing = (margins - EDGE).clamp_max(0).sum(-1)
    least = margins.amin(-1)
    return torch.where(least > 0, least, torch.minimum(missing, least))


def log_odds(logits: Tensor, classes: Tensor) -> Tensor:
    """Of each class [K] against all others, [N, K]: no softmax saturates them."""
    own = logits[:, classes]
    rest = torch.stack([
        logits.index_fill(1, classes[k : k + 1], -torch.inf).logsumexp(1)
        for k in range(len(classes))
    ], 1)  # fmt: skip
    return own - rest


class Bound:
    """A guard with a command in force, as a classifier of two classes."""

    def __init__(self, guarded: GuardedTarget, classes: Tensor) -> None:
        self.guarded, self.classes = guarded, classes
        self.box: GuardBox | None = None
        self.verdicts: list[Verdict] = []
        """Of the last pictures that the real guard was shown."""

    def margin(self, x: Tensor) -> Tensor:
        """By how much the best class for the attacker is accepted [N], of images [N, C, H, W]."""
        vote, limits = self.guarded.margins(x, self.classes)
        return _all(torch.cat([vote.amax(1)[:, None], limits], 1))

    def scores(self, x: Tensor) -> Tensor:
        """[N, 2]: 0, and the margin, which stays below 0 while the real guard does not move; needs
        `box`."""
        margin = self.margin(x)
        open_ = torch.nonzero(margin.detach() > 0)[:, 0]
        if len(open_):
            moved = raised(self.ask(to_pixels(x.detach()[open_])))
            refused = open_[torch.from_numpy(moved == 0)]
            margin = margin.index_put((refused,), -REFUSED / (1 + margin[refused]))
        return torch.stack([torch.zeros_like(margin), margin], 1)

    def labels(self, pixels: U8) -> Ints:
        """1 where the real guard accepts a higher command, [N]; needs `box`."""
        self.verdicts = self.ask(pixels)
        return raised(self.verdicts)

    def ask(self, pixels: U8) -> list[Verdict]:
        """What the real guard does with each picture."""
        if self.box is None:
            raise EdgeguardError("give this target a GuardBox: the real guard judges")
        return self.box.ask(pixels)


Detector = Any


def _detectors(config: GuardConfig, heat: dict[str, float], bare: set[str]) -> list[Detector]:
    """A margin for each detector of a picture alone; raises for those that are not known. bare:
    members whose scores are probabilities, which have no energy."""
    found: list[Detector] = []
    harmless = borne(config)
    for name, detector in config.detectors.items():
        if detector.raises in harmless:
            continue  # what trips there stops no command: nothing to avoid
        if detector.kind in ("risk", "bus", "association", "history"):
            continue  # of time, of a bus, of signals: not of one picture
        if detector.kind == "image" and detector.feature in IMAGE:
            feature = IMAGE[detector.feature]
            found.append(_limited(lambda x, s, e, f=feature: f(x), detector))
        elif detector.kind == "embedding" and detector.feature in EMBEDDING and detector.member:
            fit = config.fits[detector.member, detector.feature or ""]
            kept = {k: torch.from_numpy(v) for k, v in fit.items()}
            value = _of_embedding(detector.feature or "", detector.member, kept, heat, bare)
            found.append(_limited(value, detector))
        elif detector.kind == "score" and detector.member and detector.feature in SCORE:
            member = detector.member
            of = _nothing if detector.feature == "energy" and member in bare else (
                SCORE[detector.feature]
            )  # fmt: skip
            found.append(
                _limited(lambda x, s, e, m=member, f=of: f(s[m] / heat[m], heat[m]), detector)
            )
        else:
            raise EdgeguardError(
                f"{config.source}: detector.{name}: {detector.kind} {detector.feature} is not part "
                f"of the attacker's loss; known: {', '.join((*IMAGE, *EMBEDDING, *SCORE))}. Attack "
                "single members (--member) or name other attacks than guard and rp2, or leave "
                "the detector out"
            )
    return found


def _limited(value: Detector, detector: Any) -> Detector:
    """How far inside its limits a value is, as a share of the limit."""
    low, high = detector.below, detector.above

    def margin(x: Tensor, said: Any, embeddings: Any) -> Tensor:
        v = value(x, said, embeddings)
        sides = []
        if low is not None:
            sides.append((v - float(low)) / max(abs(float(low)), 1e-3))
        if high is not None:
            sides.append((float(high) - v) / max(abs(float(high)), 1e-3))
        return torch.stack(sides, 0).amin(0)

    return margin


def _read(plane: Tensor) -> Tensor:
    """What native/kernels/resize_scalar.cpp reads of a picture that has the model's size: each
    value [N, H, W] with its right one, and both of them below, [N, 2, 2 H, W]."""
    rows = torch.cat([plane, plane[:, 1:], plane[:, -1:]], 1)
    return torch.stack([rows, torch.cat([rows[:, :, 1:], rows[:, :, -1:]], 2)], 1)


def _luma(x: Tensor) -> Tensor:
    """native/kernels/health.hpp in torch, of all that is read."""
    weights = torch.tensor([38.0, 75.0, 15.0]).view(1, 3, 1, 1)
    return _read(floored((rounded(x * LEVELS) * weights).sum(1) / 128))


def _share(above: Tensor) -> Tensor:
    """Of values above 0, [N]; the gradient is that of a step that is not quite as steep."""
    soft = torch.sigmoid(above / 0.5)
    return (soft + ((above > 0).float() - soft).detach()).flatten(1).mean(1)


def _contrast(x: Tensor) -> Tensor:
    variance = _luma(x).flatten(1).var(1, correction=0)
    return variance.clamp_min(1e-6).sqrt()  # a root has no gradient at 0


IMAGE = {
    "mean": lambda x: _luma(x).flatten(1).mean(1),
    "contrast": _contrast,
    "black_share": lambda x: _share(16.5 - _luma(x)),
    "saturated_share": lambda x: _share(_read(rounded(x.amax(1) * LEVELS)) - 249.5),
    "sharpness": lambda x: _luma(x).diff(dim=1).abs().flatten(1).mean(1),
}


def _two(z: Tensor) -> Tensor:
    return z.softmax(1).topk(2, 1).values


SCORE = {  # of logits over their temperature, and that temperature
    "margin": lambda z, t: _two(z)[:, 0] - _two(z)[:, 1],
    "entropy": lambda z, t: -(z.softmax(1) * z.log_softmax(1)).sum(1),
    "energy": lambda z, t: -t * z.logsumexp(1),
    "certainty": lambda z, t: _two(z)[:, 0],
}


def _nothing(z: Tensor, t: float) -> Tensor:
    return z.new_zeros(len(z))


EMBEDDING = ("mahalanobis", "relative_mahalanobis", "nearest", "vim")


def _of_embedding(
    feature: str, member: str, fit: dict[str, Tensor], heat: dict[str, float], bare: set[str]
) -> Detector:
    """native/kernels/embedding.hpp in torch."""

    def value(x: Tensor, said: Any, embeddings: Any) -> Tensor:
        y = embeddings[member] - fit["centre"]
        image = y @ fit["projection"].T
        if feature == "vim":
            rest = (y - image @ fit["projection"]).norm(dim=1)
            t = heat[member]
            energy = _nothing if member in bare else SCORE["energy"]
            return fit["weight"][0] * rest + energy(said[member] / t, t)
        if feature == "nearest":
            image = functional.normalize(image, dim=1)
        apart = ((image[:, None] - fit["points"]) ** 2).sum(2).amin(1)
        if feature == "relative_mahalanobis":
            apart = apart - ((y @ fit["background"].T) ** 2).sum(1)
        return apart

    return value
