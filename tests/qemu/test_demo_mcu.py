# SPDX-License-Identifier: Apache-2.0
"""`edgeguard mcu demo`: the guard dies halfway, and the vehicle's own log shows the stop."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from edgeguard.cli.demo_mcu import command
from edgeguard.streams import ramp
from edgeguard.streams.ramp import Log

pytest.importorskip("onnxruntime", reason="the demo's models need the extra onnx")

pytestmark = pytest.mark.alone

ONE = 65536
MS = 1_000_000


def test_the_vehicle_stops_when_the_host_is_killed(tmp_path: Path) -> None:
    picture = tmp_path / "timeline.svg"
    line = ["--seconds", "8", "--out", str(tmp_path), "--picture", str(picture)]
    done = CliRunner().invoke(command, line, standalone_mode=False)
    assert done.exception is None, done.output
    assert done.return_value == 0, done.output
    assert "later it began to fall" in done.output
    ElementTree.fromstring(picture.read_text())
    found = {f["id"]: f for f in json.loads((tmp_path / "figures.json").read_text())["figures"]}
    assert found["demo_mcu.command_at_kill"]["value"] > 1.0
    assert found["demo_mcu.rises_after_kill"]["value"] == 0
    assert found["demo_mcu.ramp_ms"]["holds"]
    targets = [row.target_q16 for row in Log.read(tmp_path / "plant.jsonl").rows]
    assert max(targets) > ONE
    assert targets[-1] == 0
    assert all(a - b <= 4 * ONE // 100 + 1 for a, b in pairwise(targets))


def _log(path: Path, targets: list[float]) -> Log:
    rows = [
        {"t_ns": i * 10 * MS, "stamp_us": i * 10_000, "target_q16": round(v * ONE), "speed": v}
        for i, v in enumerate(targets)
    ]
    path.write_text("\n".join(json.dumps(row) for row in [{"plant": 1}, *rows]) + '\n{"t_ns": 1')
    return Log.read(path)


def test_a_stop_that_comes_too_late_fails_its_bar(tmp_path: Path) -> None:
    down = [max(0.0, 5.0 - 0.04 * i) for i in range(130)]
    for hold, holds in ((3, True), (12, False)):
        found = ramp.measure(_log(tmp_path / "x", [5.0] * (10 + hold) + down), 9 * 10 * MS + 1)
        figures = {f.id: f for f in ramp.figures(found)}
        assert figures["demo_mcu.ramp_ms"].holds is holds
        assert figures["demo_mcu.stop_ms"].holds


@pytest.mark.parametrize(
    ("tail", "broken"),
    [
        ([5.0] * 50, "demo_mcu.ramp_ms"),  # never stops
        ([0.0] * 50, "demo_mcu.steepest"),  # at once: a jump
        ([4.96, 4.92, 4.96, 4.92] * 20, "demo_mcu.stop_ms"),  # begins, and begins again
    ],
)
def test_what_is_no_ramp_fails_its_bar(tmp_path: Path, tail: list[float], broken: str) -> None:
    found = ramp.measure(_log(tmp_path / "x", [5.0] * 10 + tail), 9 * 10 * MS + 1)
    assert broken in {f.id for f in ramp.figures(found) if f.holds is False}
