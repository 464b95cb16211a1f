# SPDX-License-Identifier: Apache-2.0
"""The report of `edgeguard lab attack` as a person sees it: a small evaluation, a real browser."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from tests.browser.conftest import Looking

expect = pytest.importorskip("playwright.sync_api", reason="playwright is in the extra dev").expect
pytest.importorskip("torch", reason="attacks need the extra lab")

KEEP = os.environ.get("EDGEGUARD_KEEP_PICTURES")  # a folder
SHOWN = os.environ.get("EDGEGUARD_ATTACK_RESULTS")
"""With it, the page of these results is kept: docs/lab/attack.png is of the shipped guard's."""
OVERFLOWING = """() => [document.documentElement, ...document.querySelectorAll("section, figure")]
    .filter(e => e.scrollWidth > e.clientWidth + 1).map(e => e.innerText.slice(0, 40))"""
BARS = """() => [...document.querySelectorAll(".track")].filter(t => t.clientWidth).map(t => [
    t.previousElementSibling.innerText, 100 * t.children[0].getBoundingClientRect().width /
    t.getBoundingClientRect().width, 100 * t.children[1].getBoundingClientRect().width /
    t.getBoundingClientRect().width])"""
EXCERPT = """() => {
  const kept = ["The whole guard", "Transfer between members", "Gallery"];
  document.querySelectorAll("section").forEach(s => {
    s.hidden = !kept.some(title => s.innerText.startsWith(title));
    const last = [...s.querySelectorAll("h3")].at(-1);
    if (last) last.hidden = last.nextElementSibling.hidden = true; });
  document.querySelectorAll("details").forEach((d, i) => { d.open = !i; });
  document.querySelectorAll(".shown figure").forEach((f, i) => { f.hidden = i > 2; });
}"""
# Contrast of every text with what is behind it (WCAG 2: 4.5 is readable).
FAINT = """() => {
  const dot = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgb = colour => { dot.clearRect(0, 0, 1, 1); dot.fillStyle = colour;
    dot.fillRect(0, 0, 1, 1); return [...dot.getImageData(0, 0, 1, 1).data]; };
  const light = c => c.slice(0, 3).map(v => v / 255).map(v =>
    v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((s, v, i) =>
    s + v * [0.2126, 0.7152, 0.0722][i], 0);
  const over = (top, below) => top.slice(0, 3).map((v, i) =>
    v * top[3] / 255 + below[i] * (1 - top[3] / 255));
  const behind = e => { const c = rgb(getComputedStyle(e).backgroundColor);
    return c[3] === 255 ? c : over(c, behind(e.parentElement)); };
  return [...document.querySelectorAll("body *")].filter(e => e.checkVisibility() &&
    [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())).map(e => {
      const style = getComputedStyle(e);
      const [a, b] = [light(rgb(e.tagName === "text" ? style.fill : style.color)),
        light(behind(e))].sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), e.textContent.slice(0, 40)];
    }).filter(([contrast]) => contrast < 4.5);
}"""


@pytest.fixture(scope="module")
def results() -> Path:
    if SHOWN:
        return Path(SHOWN)
    from tests.lab.attacks.evaluated import evaluated

    return evaluated()[0].results


def opened(looking: Looking, results: Path) -> Any:
    looking.page.goto((results / "report.html").resolve().as_uri())
    return looking.page


def test_it_is_readable_on_a_phone_and_on_a_desk(looking: Looking, results: Path) -> None:
    page = opened(looking, results)
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    for width in (360, 390, 1180):
        page.set_viewport_size({"width": width, "height": 844})
        assert page.evaluate(OVERFLOWING) == [], width
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        assert page.evaluate(FAINT) == [], scheme
    assert looking.errors == []


def test_bars_plots_and_pictures_are_drawn(looking: Looking, results: Path) -> None:
    page = opened(looking, results)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.reload()
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    bars = page.evaluate(BARS)
    assert len(bars) > 20
    for words, wide, interval in bars:
        value, low, high = map(float, re.findall(r"[\d.]+", words))
        assert wide == pytest.approx(value, abs=1), words
        assert interval == pytest.approx(high - low, abs=1.5), words

    images = page.evaluate("[...document.images].map(i => [i.naturalWidth, i.width, i.height])")
    assert len(images) % 3 == 0
    assert images
    assert all(natural >= 32 and wide == high > 60 for natural, wide, high in images)
    curves = "[...document.querySelectorAll('polyline')].map(p => [p.points.length, p.getBBox()])"
    drawn = page.evaluate(curves)
    assert drawn
    assert all(points > 0 for points, _ in drawn)

    content = json.loads((results / "figures.json").read_text())
    hazard = next(f for f in content["figures"] if f["id"] == "guard.hazard.linf.8")
    expect(page.locator("body")).to_contain_text("The whole guard")
    expect(page.locator("body")).to_contain_text(f"{hazard['value']:.1%}")
    outside = [url for url in asked if not url.startswith(("file:", "data:"))]
    assert outside == []
    assert looking.errors == []
    if KEEP:
        keep(page)


def keep(page: Any) -> None:
    """The guard, transfer and some pictures, as docs/lab/attack.md shows them."""
    from PIL import Image

    page.emulate_media(color_scheme="light")
    page.evaluate(EXCERPT)
    page.set_viewport_size({"width": 1100, "height": 600})
    file = Path(KEEP or "") / "attack.png"
    page.screenshot(path=file, full_page=True)
    Image.open(file).convert("RGB").quantize(128).save(file, optimize=True)
