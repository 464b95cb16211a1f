# SPDX-License-Identifier: Apache-2.0
"""`edgeguard bench`: which figures it gives and in which shape. No speed is tested."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("cv2", reason="bench measures against OpenCV")
pytest.importorskip("onnx", reason="bench builds its members")

from edgeguard.cli import bench_guard, bench_jitter, bench_kernels
from edgeguard.cli.main import main
from firmware_bridge.sim import missing_tools

SIZE = (48, 64)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench_kernels, "SIZES", (SIZE,))
    monkeypatch.setattr(bench_guard, "SIZES", {"100us": 1.0})
    monkeypatch.setattr(bench_guard, "FRAME", (*SIZE, 3))
    monkeypatch.setattr(bench_jitter, "FAULTS", {"stopped": signal.SIGSTOP})
    monkeypatch.setattr(bench_jitter, "TICKS", 20)


def bench(*arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["bench", "--rounds", "20", *arguments])
    return int(caught.value.code or 0)


def test_figures_of_both_halves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status = bench("--json", str(tmp_path / "figures.json"))
    results = json.loads((tmp_path / "figures.json").read_text())
    assert set(results) == {"figures", "machine", "versions", "seed", "date"}
    found: dict[str, Any] = {f["id"]: f for f in results["figures"]}
    kernels = [f"kernel.64x48.{name}" for name, *_ in bench_kernels.CLAIMS]
    guard = [f"{part}.100us" for part in ("guard.native", "guard.total", "numpy.overhead")]
    link = [f"mcu.{part}.{q}" for part in ("round_trip", "link") for q in ("p50", "p99")]
    ways = "eventfd", "eventfd_asleep", "pipe_byte", "pipe_object", "pipe_frame"
    rivals = [f"isolation.rival.{n}" for n in ways]
    costs = [f"isolation.{n}{e}" for n in ("one_worker", "worker_each") for e in ("", ".woken")]
    apart = [*rivals, *costs, "isolation.in_process"]
    record = [f"recorder.tick.{q}" for q in ("p50", "p99")]
    jitter = ["jitter.stopped", "jitter.ordinary.stopped"]
    after = jitter + record + ([] if missing_tools() else link)
    assert list(found) == kernels + guard + apart + after
    for name, figure in found.items():
        assert figure["value"] > 0 or name in costs + jitter + record  # a difference may be noise
        assert figure["n"] >= 20
        assert ("bar" in figure) == ("holds" in figure), name
    for name in kernels:
        low, high = found[name]["interval"]
        assert low <= high
        assert set(found[name]["us"]) == {"p50", "p99"}
    missed = [name for name, f in found.items() if f.get("holds") is False]
    assert status == (1 if missed else 0)
    shown = capsys.readouterr()
    assert all(name in shown.out for name in kernels + guard)
    assert "round trip to a microcontroller" in shown.out  # or why it is not measured
    assert all(name in shown.err for name in missed)


def test_the_int8_rival_makes_the_numbers_that_its_float_twin_means() -> None:
    rivals = {c.name: c.call for c in bench_kernels._opencv(bench_kernels.frame(*SIZE))}
    steps = rivals[bench_kernels.BEST]() / bench_kernels.SCALE + bench_kernels.ZERO_POINT
    apart = np.abs(rivals[bench_kernels.BEST_INT8]() - np.clip(np.rint(steps), -128, 127))
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.001  # halves that are rounded the other way


def test_a_folder_that_is_not_there_is_named_before_anything_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench_kernels, "figures", lambda rounds: pytest.fail("measured"))
    assert bench("--json", "/nowhere/figures.json") == 2
    assert "/nowhere/figures.json: there is no folder /nowhere" in capsys.readouterr().err


def test_without_qemu_the_link_is_not_measured_and_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert bench("--only", "mcu") == 2
    assert "apt-get install -y make gcc-arm-none-eabi" in capsys.readouterr().err
