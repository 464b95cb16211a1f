# SPDX-License-Identifier: Apache-2.0
"""The evaluation as a page: one file, nothing loaded from anywhere, made from the results files.

`write` needs the folder alone: figures.json, gallery.json, corpus.json and the pictures, each of
which must be the one that was indexed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

from edgeguard import written
from edgeguard.errors import EdgeguardError
from edgeguard.lab.attacks import corpus, gallery
from edgeguard.lab.attacks.page.curves import curves
from edgeguard.lab.attacks.page.guard import whole
from edgeguard.lab.attacks.page.pictures import pictures
from edgeguard.lab.attacks.page.tables import attacks, matrix, trap, validity
from edgeguard.lab.attacks.page.words import View, number, section

FIGURES, PAGE = "figures.json", "report.html"

STYLE = """
:root { color-scheme: light dark; --ink: #1d2328; --soft: #5d6872; --line: #d8dde1; --card: #fff;
  --ground: #f2f4f5; --good: #1a7f4b; --bad: #b3261e; --bar: #35658f; --s0: #35658f; --s1: #b9500b;
  --s2: #1a7f4b; --s3: #8a4fa3; --s4: #a87900; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaed; --soft: #9aa6b0; --line: #353d44;
  --card: #1d2328; --ground: #12161a; --good: #3fb97a; --bad: #f2665c; --bar: #6fa5d6;
  --s0: #6fa5d6; --s1: #ee8243; --s2: #3fb97a; --s3: #c48fdc; --s4: #d9a92b; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1180px; padding: 12px; background: var(--ground);
  color: var(--ink); font: 15px/1.45 system-ui, sans-serif; }
h1 { font-size: 20px; margin: 8px 0; overflow-wrap: anywhere; }
h2 { font-size: 16px; margin: 0 0 6px; } h3 { font-size: 14px; margin: 14px 0 4px; }
p { margin: 4px 0 8px; max-width: 80ch; } .soft, figcaption { color: var(--soft); }
.bad { color: var(--bad); } .good { color: var(--good); }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px;
  padding: 12px; margin: 0 0 12px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
th { text-align: left; font-weight: 500; color: var(--soft); font-size: 12px; }
td, th { padding: 4px 8px 4px 0; border-top: 1px solid var(--line); vertical-align: top; }
thead th { border: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.rate { min-width: 150px; } .rate span { font-variant-numeric: tabular-nums; white-space: nowrap; }
.track { position: relative; height: 8px; margin-top: 3px; background: var(--ground);
  border-radius: 2px; }
.track i { position: absolute; inset: 0 auto 0 0; background: var(--bar); border-radius: 2px; }
.track b { position: absolute; top: 3px; height: 2px; background: var(--ink); }
.matrix td { text-align: center; font-variant-numeric: tabular-nums;
  border: 1px solid var(--line); padding: 6px; min-width: 92px; }
.matrix small { display: block; color: var(--soft); }
.matrix td.heat {
  background: color-mix(in srgb, var(--bad) calc(var(--share) * 40%), transparent); }
.matrix .heat small { color: inherit; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(340px, 100%), 1fr));
  gap: 12px; } figure { margin: 0; min-width: 0; }
svg { display: block; width: 100%; height: auto; font: 11px system-ui, sans-serif; }
svg text { fill: var(--soft); } .grid { stroke: var(--line); }
.curve { fill: none; stroke-width: 2; }
.legend { display: flex; flex-wrap: wrap; gap: 2px 12px; font-size: 12px; margin: 0; padding: 0;
  list-style: none; } .legend svg { display: inline-block; width: 26px; vertical-align: middle; }
.c0 { stroke: var(--s0); } .c1 { stroke: var(--s1); } .c2 { stroke: var(--s2); }
.c3 { stroke: var(--s3); } .c4 { stroke: var(--s4); } .dashed { stroke-dasharray: 5 3; }
.point { fill: var(--ink); stroke: var(--ink); }
.shown { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(300px, 100%), 1fr));
  gap: 12px; margin-top: 8px; } .shown figure { border: 1px solid var(--line); border-radius: 6px;
  padding: 8px; font-size: 13px; }
.three { display: grid; grid-template-columns: repeat(3, 1fr); gap: 6px; font-size: 12px;
  color: var(--soft); } .three img { width: 100%; display: block; image-rendering: pixelated; }
code { overflow-wrap: anywhere; }
summary { cursor: pointer; font-weight: 600; padding: 4px 0; } li { margin: 2px 0; }
@media (max-width: 640px) {
  .rows thead { display: none; } .rows tr { display: block; border-top: 1px solid var(--line);
  padding: 6px 0; } .rows td { display: flex; justify-content: space-between; gap: 12px; border: 0;
  padding: 1px 0; text-align: right; white-space: normal; } .rows td:empty { display: none; }
  .rows td::before { content: attr(data-name); color: var(--soft); text-align: left; }
  .rows td:first-child { font-weight: 600; } .rows td:first-child::before { content: none; }
  .rows .rate > div { flex: 1; max-width: 200px; } }
"""


def write(results: Path) -> Path:
    """Make DIR/report.html. Raises EdgeguardError that names the file which is missing, or is not
    the one that was indexed."""
    file = results / PAGE
    written.text(file, page(results))
    return file


def page(results: Path) -> str:
    """The page as HTML."""
    view = View(results, _json(results / FIGURES), corpus.load(results),
                _json(results / gallery.FILE))  # fmt: skip
    title = f"Attacks on {', '.join(view.members)}"
    body = "\n".join(made for made in _sections(view) if made)
    return f"""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">
<style>{STYLE}</style></head>
<body><h1>{escape(title)}</h1>
{_made(view)}
{body}
</body></html>
"""


def _json(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EdgeguardError(f"{file}: cannot be read: {error}; run the attack again") from None
    return found


def _sections(view: View) -> Iterator[str]:
    yield _outcome(view)
    yield whole(view)
    yield attacks(view)
    yield trap(view)
    yield matrix(view)
    yield curves(view)
    yield pictures(view)
    yield validity(view)


def _made(view: View) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in view.document["versions"].items())
    return (
        f'<p class="soft">{escape(view.document["date"])}, {escape(view.document["machine"])};'
        f" {escape(versions)}. {view.corpus['found']:,} adversarial samples in this folder, corpus"
        f" version {view.corpus['version']} (corpus.json); every number here is in figures.json."
        " A bar is a share of n pictures; the line over it, and what stands in brackets, is"
        " the 95 % interval.</p>"
    )


def _outcome(view: View) -> str:
    """Bars that do not hold, and rules of validity that were broken."""
    missed = [f for f in view.figures.values() if f.get("holds") is False]
    barred = [f for f in view.figures.values() if "holds" in f]
    broken = [(f["id"], rule) for f in view.figures.values() for rule in f.get("rules", [])]
    lines = [
        f'<li class="bad"><code>{escape(f["id"])}</code>: {number(f["value"])} of n = {f["n"]},'
        f" bar {escape(f['bar'])}</li>"
        for f in missed
    ]
    lines += [f'<li class="bad">invalid, {escape(id)}: {escape(rule)}</li>' for id, rule in broken]
    said = f"{len(barred) - len(missed)} of {len(barred)} bars hold."
    valid = "The evaluation breaks a rule of validity: it counts for nothing." if broken else (
        "No rule of validity is broken.")  # fmt: skip
    return section("Outcome", f"<p>{said} {valid}</p><ul>{''.join(lines)}</ul>")
