# SPDX-License-Identifier: Apache-2.0
"""The tables of figures, made from the results files beside this one: nobody types a result.

    python docs/results/readme.py            writes README.md's, and all in docs/results/README.md
    python docs/results/readme.py --check    exits 1 where one of them differs

A results file is what a command wrote with `--json`; table.toml says which figures a row shows:
{ID:FORMAT}, {ID@n} or {ID@high}, the upper end of its interval. A bar that does not hold is marked
in its row, and such a row stands in README.md too.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

HERE = Path(__file__).resolve().parent
README = HERE.parents[1] / "README.md"
WHOLE = HERE / "README.md"
HEAD = "| | figure | bar | command |\n|---|---|---|---|\n"
BEGIN, END = "<!-- figures: make readme -->\n", "<!-- end of figures -->\n"
PLACE = re.compile(r"\{([\w.]+)(?:@(\w+))?(?::([^}]*))?\}")

Figures = dict[str, dict[str, Any]]


def read() -> dict[str, dict[str, Any]]:
    """What each command wrote, by the name of its file."""
    files = sorted(HERE.glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def fill(text: str, figures: Figures) -> tuple[str, list[str]]:
    """The text with its figures, and the ids of those whose bar does not hold."""
    missed = []

    def put(place: re.Match[str]) -> str:
        name, key, form = place.groups()
        if name not in figures:
            raise ValueError(f"the results file has no {name}")
        figure = figures[name]
        if figure.get("holds") is False:
            missed.append(name)
        value = figure["interval"][1] if key == "high" else figure[key or "value"]
        return format(value, form or "g")

    return PLACE.sub(put, text), missed


def row(spec: dict[str, Any], documents: dict[str, dict[str, Any]]) -> tuple[str, bool]:
    """One row, and whether its bars hold. Raises ValueError when its results file or a figure is
    not there."""
    if spec["from"] not in documents:
        raise ValueError(f"no results file {spec['from']}.json")
    figures = {figure["id"]: figure for figure in documents[spec["from"]]["figures"]}
    shown, missed = fill(spec["figure"], figures)
    bar = spec.get("bar", "") + (", **missed**" if missed else "")
    return f"| {spec['what']} | {shown} | {bar} | {spec['command']} |\n", not missed


def caption(documents: Iterable[dict[str, Any]]) -> str:
    """Where and when."""
    documents = list(documents)
    days = sorted(date.fromisoformat(d["date"][:10]) for d in documents)
    machines = ", ".join(sorted({d["machine"] for d in documents}))
    first, last = (f"{d.day} {d:%B %Y}" for d in (days[0], days[-1]))
    return f"{machines}; {first if first == last else f'{first} to {last}'}."


def tables() -> tuple[str, str]:
    """README.md's, and the whole, a table for each section."""
    documents = read()
    sections = tomllib.loads((HERE / "table.toml").read_text(encoding="utf-8"))["section"]
    chosen, whole, command = HEAD, "", ""
    for section in sections:
        whole += f"## {section['title']}\n\n{HEAD}"
        for spec in section["row"]:
            command = spec.setdefault("command", command)
            shown, holds = row(spec, documents)
            whole += shown
            if spec.get("readme") or not holds:
                chosen += shown
        whole += "\n"
    where = caption(documents.values())
    return f"{where}\n\n{chosen}", f"{where}\n\n{whole.rstrip()}\n"


def main() -> int:
    """Write or check."""
    stale = []
    for file, table in zip((README, WHOLE), tables(), strict=True):
        text = file.read_text(encoding="utf-8")
        before, begin, rest = text.partition(BEGIN)
        _, end, after = rest.partition(END)
        if not (begin and end):
            sys.exit(f"{file}: the marks of the table are gone")
        made = f"{before}{BEGIN}\n{table}\n{END}{after}"
        if made != text:
            stale.append(file)
        if "--check" not in sys.argv:
            file.write_text(made, encoding="utf-8")
    if stale and "--check" in sys.argv:
        names = ", ".join(str(file.relative_to(HERE.parents[1])) for file in stale)
        print(f"not what docs/results says: {names}: make readme", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
