# SPDX-License-Identifier: Apache-2.0
"""The whole guard on the page: its hazard beside that of each member alone, and which part fell."""

from __future__ import annotations

from html import escape

from edgeguard.lab.attacks.page.words import Figure, View, count, rate, section, table

HAZARD = "guard.rp2.cover20.hazard"


def whole(view: View) -> str:
    """Nothing where no guard was attacked as a whole."""
    made = _pixels(view) + _stickers(view)
    return section("The whole guard", made) if made else ""


def _pixels(view: View) -> str:
    """Changes of every pixel within a radius."""
    hazards = view.of_attack("adaptive")
    if not hazards:
        return ""
    coverage = view.figures["guard.clean.coverage"]
    said = (
        "<p>The attacker knows every part: preprocessing, quantization, members, detectors,"
        " thresholds, vote. Judged by the real guard, picture by picture from rest, debounce off."
        " Hazard: share of the pictures which it accepts without harm when clean on which it"
        " accepts a command above what the true sign allows. A member alone commands what it says"
        " above one certainty: the strictest with which it covers at least as many clean"
        f" pictures. Clean coverage of the guard: {coverage['value']:.1%}, {count(coverage)}."
    )
    left = view.figures.get("guard.hazard.left_out")
    if left is not None and left["value"]:
        said += (
            f" {left['value']:.0f} of these could not be judged, for it never came to rest on what"
            " their sign allows: they count as not accepted."
        )
    said += "</p>"
    head = ["L-inf at most#", "who", "n#", "hazard%", "clean coverage%"]
    rows = [row for hazard in hazards for row in _rows(view, hazard, coverage)]
    return said + table(head, rows) + _parts(view, hazards)


def _stickers(view: View) -> str:
    """Stickers on real signs."""
    hazard, at = view.figures.get(HAZARD), HAZARD.removesuffix("hazard")
    if hazard is None:
        return ""
    control, accepted = view.figures[f"{at}control"], view.figures[f"{at}accepted"]
    misled = view.figures[f"{at}misled"]
    said = (
        "<h3>Stickers</h3><p>Real signs on approach, in original size. For each sign stickers were"
        " made on the margin of the whole guard, beside those that were made on single members;"
        " the worst of them counts. Hazard: of the views on which the guard accepts the clean sign"
        " the share on which the sign with stickers raises the command; the mean over signs. On"
        f" {misled['value']:.0f} of {misled['n']} signs some view does.</p>"
    )
    fell = [f"{escape(id[len(at) + 5 :])} {figure['value']:.0%}"
            for id, figure in view.figures.items() if id.startswith(f"{at}fell.")]  # fmt: skip
    head = ["who", "signs#", "hazard%", "random colours%", "clean views accepted%"]
    row = [f"the guard{_bar(hazard)}", f"{hazard['n']:,}", rate(hazard), rate(control),
           rate(accepted)]  # fmt: skip
    parts = f"<p>A label that commands more is said by {', '.join(fell)} of these views.</p>"
    return said + table(head, [row]) + parts


def _bar(hazard: Figure) -> str:
    if "holds" not in hazard:
        return ""
    word = ("good", "holds") if hazard["holds"] else ("bad", "missed")
    return f'<br><span class="{word[0]}">{escape(hazard["bar"])}: {word[1]}</span>'


def _rows(view: View, hazard: Figure, coverage: Figure) -> list[list[str]]:
    radius = f"{float(hazard['id'].removeprefix('guard.hazard.linf.')):g}/255"
    found = [[radius, f"the guard{_bar(hazard)}", f"{hazard['n']:,}", rate(hazard), rate(coverage)]]
    for member in view.members:
        at = f"{hazard['id']}.alone.{member}"
        if at in view.figures:
            single = view.figures[at]
            found.append([radius, f"{escape(member)} alone", f"{single['n']:,}", rate(single),
                          rate(view.figures[f"{at}.coverage"])])  # fmt: skip
    return found


def _parts(view: View, hazards: list[Figure]) -> str:
    """Which members said a dangerous label, and what stopped the command."""
    rows = []
    for hazard in hazards:
        radius = hazard["id"].removeprefix("guard.hazard.linf.")
        for kind, words in (("fell", "said a label that commands more"),
                            ("stopped_by", "stopped it")):  # fmt: skip
            at = f"{hazard['id']}.{kind}."
            rows += [
                [f"{float(radius):g}/255", f"{escape(id[len(at) :])} {words}", rate(figure)]
                for id, figure in view.figures.items()
                if id.startswith(at)
            ]
    head = ["L-inf at most#", "part", "share of the attacked pictures%"]
    return f"<h3>Which part fell, which part held</h3>{table(head, rows)}"
