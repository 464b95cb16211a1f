# SPDX-License-Identifier: Apache-2.0
"""Tables of the page: attacks on members, the known trap, transfer, validity."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape

from edgeguard.lab.attacks.page.words import (
    ATTACKS,
    Figure,
    View,
    count,
    rate,
    section,
    size_words,
    span,
    table,
    threat_words,
)
from edgeguard.lab.attacks.transfer import CARRIED

MADE_BY_TWIN = {"deepfool_float": "deepfool", "cw_l2_float": "cw_l2"}


def attacks(view: View) -> str:
    """A table for each member: success, norms, queries, cost."""
    tables = [
        f"<h3>{escape(member)}</h3>{_of_member(view, member)}"
        for member in view.members
        if view.attacks(member)
    ]
    said = (
        "<p>Share of pictures which the deployed int8 file read rightly before and reads wrongly"
        " after the attack; judged in 8 bits, by the file on its own runtime. The size is the"
        " median of those that fooled it. Seconds are processor time for one picture.</p>"
    )
    return section("Attacks on each member", said + "".join(tables)) if tables else ""


def _of_member(view: View, member: str) -> str:
    head = ["attack", "threat", "knows", "n#", "success%", "median size#", "median queries#",
            "seconds#", "bar"]  # fmt: skip
    rows = [_row(view, member, name, figure) for name, figure in view.attacks(member)]
    worst = [(id, f) for id, f in view.figures.items() if id.startswith(f"attack.{member}.worst.")]
    rows += [
        ["worst case of each picture", f"L-inf at most {id.split('.')[-2]}/255",
         "the strongest of all above", f"{f['n']:,}", rate(f), "", "", "", ""] for id, f in worst
    ]  # fmt: skip
    return table(head, rows)


def _row(view: View, member: str, name: str, figure: Figure) -> Sequence[str]:
    about = view.about(figure)
    threat, attack = about["threat"], about["attack"]
    at = f"attack.{member}.{name}"
    size, asked = (view.figures.get(f"{at}.median_{what}") for what in ("size", "queries"))
    if size is not None:
        low, high = (size_words(threat["norm"], v) for v in size["interval"])
        median = f"{size_words(threat['norm'], size['value'])} ({low} to {high})"
    else:
        median = ""
    bar = ""
    if "holds" in figure:
        word = ("good", "holds") if figure["holds"] else ("bad", "missed")
        bar = f'{escape(figure["bar"])} <span class="{word[0]}">{word[1]}</span>'
    return [
        escape(ATTACKS.get(attack, attack)), escape(threat_words(attack, threat)),
        "nothing" if attack == "noise" else threat["knowledge"], f"{figure['n']:,}",
        rate(figure), median,
        "" if asked is None else f"{asked['value']:,.0f}",
        f"{figure['cpu_s']:.2f}" if "cpu_s" in figure else "", bar,
    ]  # fmt: skip


def trap(view: View) -> str:
    """What is made on the float twin, and what becomes of it."""
    rows = [row for member in view.members for row in _trapped(view, member)]
    said = (
        "<p>The smallest change that fools a float model stops just behind its border; the int8"
        " file has the border elsewhere. So a float-made attack seems to show that int8 is robust."
        " The same attack through the quantizer, on the same pictures, shows that it is not.</p>"
    )
    head = ["member", "attack", "n#", "made on float, read by float%", "the same in 8 bits%",
            "the same, read by the int8 file%", "made through the quantizer%"]  # fmt: skip
    if not rows:
        return ""
    return section("The known trap: attacks made on the float twin", said + table(head, rows))


def _trapped(view: View, member: str) -> Iterator[Sequence[str]]:
    for name, figure in view.attacks(member):
        attack = view.about(figure)["attack"]
        if attack in MADE_BY_TWIN:
            at = f"attack.{member}"
            by = view.figures.get(f"{at}.{MADE_BY_TWIN[attack]}.l2.min.success")
            shown = [view.figures.get(f"{at}.{name}.{on}") for on in ("on_float", "on_float_8bit")]
            yield [
                escape(member), escape(ATTACKS[MADE_BY_TWIN[attack]]), f"{figure['n']:,}",
                *("" if f is None else rate(f) for f in (*shown, figure, by)),
            ]  # fmt: skip


def matrix(view: View) -> str:
    """Transfer between members and to the whole guard."""
    shown = "".join(_matrix(view, name) for name in CARRIED)
    said = (
        "<p>Samples that fooled the member in the row, shown to the others where they read the"
        " clean picture rightly. The guard: share on which it accepts a higher command, of those"
        " that it accepted clean. The last column: as many members as a quorum needs agree on the"
        " same wrong answer.</p>"
    )
    return section("Transfer between members", said + shown) if shown else ""


def _matrix(view: View, name: str) -> str:
    sources = [m for m in view.members if f"vote.common_mode.{name}.{m}" in view.figures]
    if len(view.members) < 2 or not sources:
        return ""
    guard = any(f"attack.transfer.{m}.guard.{name}" in view.figures for m in sources)
    columns = [*view.members, *(["guard"] if guard else [])]
    head = "".join(f"<th>{escape(c)}</th>" for c in ("made on", *columns, "a quorum agrees"))
    lines = []
    for source in sources:
        cells = [_cell(view.figures.get(f"attack.transfer.{source}.{to}.{name}"))
                 if to != source else _own(view, source, name) for to in columns]  # fmt: skip
        cells.append(_cell(view.figures[f"vote.common_mode.{name}.{source}"]))
        lines.append(f"<tr><th>{escape(source)}</th>{''.join(cells)}</tr>")
    attack = name.split(".", 1)[0]
    return (
        f'<h3>{escape(ATTACKS[attack])}</h3><div class="scroll"><table class="matrix"><thead><tr>'
        f"{head}</tr></thead><tbody>{''.join(lines)}</tbody></table></div>"
    )


def _own(view: View, member: str, name: str) -> str:
    figure = view.figures[f"attack.{member}.{name}.success"]
    return f"<td>{figure['value']:.0%}<small>own, {count(figure)}</small></td>"


def _cell(figure: Figure | None) -> str:
    if figure is None or not figure["n"]:
        return "<td><small>none to judge</small></td>"
    return (
        f'<td class="heat" style="--share:{figure["value"]:.2f}">{figure["value"]:.0%}'
        f"<small>{count(figure)}<br>{span(figure)}</small></td>"
    )


def validity(view: View) -> str:
    """What was checked before anything counts."""
    head = ["member", "surrogate equal to the file (E2)%", "pictures inside their threat (E3)#",
            "without a gradient (E5)%", "rules broken"]  # fmt: skip
    rows = []
    for member in view.members:
        at = f"attack.{member}"
        judged = sum(figure["n"] for _, figure in view.attacks(member))
        broken = view.figures[f"{at}.rules_broken"]["rules"]
        rows.append([
            escape(member), rate(view.figures[f"{at}.agreement"]), f"all {judged:,}",
            rate(view.figures[f"{at}.zero_gradients"]),
            "<br>".join(f'<span class="bad">{escape(rule)}</span>' for rule in broken) or "none",
        ])  # fmt: skip
    said = (
        "<p>E2: on that many pictures the surrogate gives the very integers of the file (TFLite:"
        " within one step), else no attack starts. E3: a picture outside its norm, radius, box or"
        " number of queries ends the evaluation. E4: noise is weaker than one step, one step and"
        " black boxes than many steps with gradients. E5: gradients are there.</p>"
    )
    return section("What makes this count", said + table(head, rows))
