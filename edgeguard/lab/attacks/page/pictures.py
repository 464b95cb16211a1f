# SPDX-License-Identifier: Apache-2.0
"""The gallery of the page: clean, change, attacked, and what members and guard say of both."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeguard.lab.attacks import corpus
from edgeguard.lab.attacks.page.words import ATTACKS, View, section, size_words, threat_words
from edgeguard.png import data_uri

MOST = 32  # times that a change is magnified
Sample = Mapping[str, Any]


def pictures(view: View) -> str:
    """Grouped by what was attacked; the first group is open."""
    groups: dict[str, list[str]] = {}
    for sample in view.shown:
        of = "the whole guard" if sample["figure"].startswith("guard.") else next(
            m for m in view.members if sample["figure"].startswith(f"attack.{m}."))  # fmt: skip
        groups.setdefault(of, []).append(_sample(view, sample))
    order = sorted(groups.items(), key=lambda group: group[0] != "the whole guard")
    shown = "".join(
        f"<details{' open' if i == 0 else ''}><summary>made on {escape(of)} ({len(made)})</summary>"
        f'<div class="shown">{"".join(made)}</div></details>'
        for i, (of, made) in enumerate(order)
    )
    said = (
        "<p>Of each attack the hit of median size; of the whole guard hits, and pictures that it"
        " stopped. Grey in the middle picture is no change; it is magnified as written. What is"
        " not the true sign is red.</p>"
    )
    return section("Gallery", said + shown) if groups else ""


def _sample(view: View, sample: Sample) -> str:
    figure = view.figures[sample["figure"]]
    about = view.about(figure)
    rows = corpus.read(view.results / sample["part"])
    clean, made = (_upright(rows[name][sample["row"]]) for name in ("clean", "pixels"))
    change, times = _magnified(clean, made)
    three = "".join(
        f'<div><img src="{data_uri(picture)}" alt="{words}">{words}</div>'
        for picture, words in ((clean, "clean"), (change, f"change x{times}"), (made, "attacked"))
    )
    attack, threat = about["attack"], about["threat"]
    size = size_words(threat["norm"], sample["size"])
    return (
        f"<figure><figcaption><b>{escape(ATTACKS.get(attack, attack))}</b>,"
        f" {escape(threat_words(attack, threat))}; here {size}.<br>"
        f"True: {escape(view.label(sample['true']))}"
        f"{'; the nearest frame, unturned' if attack == 'rp2' else ''}</figcaption>"
        f'<div class="three">{three}</div>{_said(view, sample)}</figure>'
    )


def _upright(picture: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """[C, H, W] as RGB [H, W, 3]."""
    return np.ascontiguousarray(np.broadcast_to(picture.transpose(1, 2, 0),
                                                (*picture.shape[1:], 3)))  # fmt: skip


def _magnified(
    clean: npt.NDArray[np.uint8], made: npt.NDArray[np.uint8]
) -> tuple[npt.NDArray[np.uint8], int]:
    """The change around grey, as large as fits; how many times."""
    change = made.astype(np.int32) - clean
    times = int(np.clip(127 // max(int(np.abs(change).max()), 1), 1, MOST))
    return (128 + times * change).clip(0, 255).astype(np.uint8), times


def _said(view: View, sample: Sample) -> str:
    rows = "".join(
        f"<tr><th>{escape(member)}</th>{_label(view, sample, sample['clean'][member])}"
        f"{_label(view, sample, sample['attacked'][member])}</tr>"
        for member in view.members
    )
    if "guard_attacked" in sample:
        rows += (f"<tr><th>guard</th>{_verdict(sample['guard_clean'])}"
                 f"{_verdict(sample['guard_attacked'])}</tr>")  # fmt: skip
    head = "<tr><th></th><th>clean</th><th>attacked</th></tr>"
    return f"<table><thead>{head}</thead><tbody>{rows}</tbody></table>"


def _label(view: View, sample: Sample, label: int) -> str:
    kind = "" if label == sample["true"] else ' class="bad"'
    return f"<td{kind}>{escape(view.label(label))}</td>"


def _verdict(verdict: Mapping[str, Any] | None) -> str:
    if verdict is None:
        return '<td class="soft">nothing commands more</td>'
    if verdict["raised"]:
        return '<td class="bad">takes a higher command</td>'
    if verdict["causes"]:
        return f'<td class="good">stops it: {escape(", ".join(verdict["causes"]))}</td>'
    return "<td>takes it; no higher command</td>"
