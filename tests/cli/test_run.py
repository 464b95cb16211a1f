# SPDX-License-Identifier: Apache-2.0
"""`edgeguard run` on real files of every kind of source: the decisions out of the sink."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.cli.running import check, lines, run

cv2 = pytest.importorskip("cv2", reason="folders and videos are read with OpenCV (extra images)")


def test_recorded_stream(policy: Path, pictures: np.ndarray, tmp_path: Path) -> None:
    speeds = np.linspace(10, 17, 8)
    np.savez(tmp_path / "drive.npz", x=pictures, **{"signal.speed": speeds})
    records = lines(run(policy, "--source", "drive.npz"))
    check(records, 8)
    assert all("INPUT_INVALID" not in r["causes"] for r in records)


def test_recorded_stream_with_boxes(policy: Path, pictures: np.ndarray, tmp_path: Path) -> None:
    canvas = np.full((8, 96, 128, 3), 128, np.uint8)
    boxes = np.array([[4 * n, 3 * n, 32, 32] for n in range(8)])
    for image, sign, (x, y, w, h) in zip(canvas, pictures, boxes, strict=True):
        image[y : y + h, x : x + w] = sign
    np.savez(tmp_path / "whole.npz", x=pictures)
    np.savez(tmp_path / "boxed.npz", x=canvas, box=boxes)
    whole, boxed = (
        lines(run(policy, "--source", name, "--signal", "speed=20"))
        for name in ("whole.npz", "boxed.npz")
    )
    assert [r["evidence"] for r in whole] == [r["evidence"] for r in boxed]


def test_folder_of_pictures_to_a_file(policy: Path, pictures: np.ndarray, tmp_path: Path) -> None:
    (tmp_path / "shots").mkdir()
    for n, picture in enumerate(pictures):
        cv2.imwrite(str(tmp_path / "shots" / f"{n:03}.png"), picture)
    done = run(policy, "--source", "shots", "--sink", "out.jsonl", "--signal", "speed=20")
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    check([json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()], 8)


def test_video_to_a_callable(policy: Path, pictures: np.ndarray, tmp_path: Path) -> None:
    writer = cv2.VideoWriter(
        str(tmp_path / "drive.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64)
    )
    for picture in pictures:
        writer.write(cv2.resize(picture, (64, 64)))
    writer.release()
    (tmp_path / "mine.py").write_text(
        "def speed(t_ns):\n    return {'speed': 15.0}\n"
        "def sink(decision, t_ns):\n    print(t_ns, decision.mode.name)\n"
    )
    done = run(policy, "--source", "drive.avi", "--signal", "mine:speed", "--sink", "mine:sink")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 71
    assert "71 decisions" in done.stderr


def test_a_frame_that_does_not_fit_is_no_frame(
    policy: Path, pictures: np.ndarray, tmp_path: Path
) -> None:
    boxes = np.tile([0, 0, 32, 32], (8, 1))
    boxes[2:5, 0] = [40, 50, 60]  # outside of the picture
    np.savez(tmp_path / "boxed.npz", x=pictures, box=boxes)
    done = run(policy, "--source", "boxed.npz", "--signal", "speed=20")
    records = lines(done)
    assert len(records) == 71
    assert any("FRAME_LOST" in r["present"] for r in records)
    assert done.stderr.count("frame refused") == 1
    assert "Traceback" not in done.stderr


# A runner in the background hands SIGINT down ignored; whoever presses Ctrl-C does not.
HEARS_INT = (
    "import os, signal, sys; signal.signal(signal.SIGINT, signal.SIG_DFL);"
    " os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_a_person_or_a_service_manager_ends_it_in_order(
    policy: Path, pictures: np.ndarray, tmp_path: Path, end: signal.Signals
) -> None:
    np.savez(tmp_path / "drive.npz", x=np.repeat(pictures, 1000, axis=0))
    with subprocess.Popen(
        [sys.executable, "-c", HEARS_INT, "-m", "edgeguard", "run", str(policy), "--source",
         "drive.npz", "--realtime", "--signal", "speed=20"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(end)
        out, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    counted = int(said.partition(" decisions: ")[0].splitlines()[-1])
    lost = re.search(r"sink -: (\d+) decisions lost", said)  # by a machine that is busy
    written = out.count("\n") + 1 + (int(lost[1]) if lost else 0)
    assert 0 <= counted - written <= 1  # it may end between counting and writing
    for line in ("decision: p50 ", "tick: p50 ", "wake-up late by: p50 ", "overruns: "):
        assert line in said


def test_a_run_on_the_clock_whose_reader_leaves_has_failed(
    policy: Path, pictures: np.ndarray, tmp_path: Path
) -> None:
    np.savez(tmp_path / "drive.npz", x=np.repeat(pictures, 1000, axis=0))
    with subprocess.Popen(
        [sys.executable, "-m", "edgeguard", "run", str(policy), "--source", "drive.npz",
         "--realtime", "--signal", "speed=20"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        json.loads(process.stdout.readline())
        process.stdout.close()
        said = process.stderr.read()
        process.wait(60)
    assert process.returncode not in (0, None)
    assert "the reader of an output is gone" in said


FAKE_CAMERA = """
import numpy, os
CAP_PROP_POS_MSEC, CAP_PROP_FRAME_WIDTH, CAP_PROP_FRAME_HEIGHT, CAP_PROP_BUFFERSIZE = 0, 3, 4, 38
class VideoCapture:
    def __init__(self, source):
        self.left, self.mode = 5, {}
        assert source == 0 and os.getppid() == int(os.environ["EDGEGUARD_PARENT"])
    def isOpened(self): return "EDGEGUARD_UNPLUGGED" not in os.environ
    def set(self, what, value): self.mode[what] = min(value, 64)
    def get(self, what): return 0.0
    def read(self):
        self.left -= 1
        size = self.mode[CAP_PROP_FRAME_HEIGHT], self.mode[CAP_PROP_FRAME_WIDTH], 3
        return self.left >= 0, numpy.zeros(size, numpy.uint8)
    def release(self): pass
"""
SPEED = """
import os, sys
os.environ["EDGEGUARD_PARENT"] = str(os.getpid())
asked = []
def speed(t_ns):
    assert "cv2" not in sys.modules
    asked.append(t_ns)
    if len(asked) > 30:
        os.environ["EDGEGUARD_UNPLUGGED"] = "yes"  # of the decoders that are started from now on
    return {"speed": 20.0}
"""


def from_fake_camera(policy: Path, tmp_path: Path, width: int) -> subprocess.CompletedProcess[str]:
    """With a camera of at most 64 x 64 pixels that is unplugged after five frames."""
    packages = tmp_path / "site-packages"  # the only name that a confined process imports from
    packages.mkdir()
    (packages / "cv2.py").write_text(FAKE_CAMERA)
    (tmp_path / "mine.py").write_text(SPEED)
    frame = f"rate_hz = 10\nframe = {{ width = {width}, height = 48 }}"
    policy.write_text(policy.read_text().replace("rate_hz = 10", frame))
    arguments = ("--source", "camera:0", "--signal", "mine:speed", "--seconds", "2.5")
    return run(policy, *arguments, PYTHONPATH=str(packages))


def test_a_camera_that_is_unplugged_is_a_lost_frame(policy: Path, tmp_path: Path) -> None:
    """Its decoder is a process of its own, as for a file."""
    done = from_fake_camera(policy, tmp_path, 64)
    records = lines(done)
    assert min(r["ages_ms"]["front"] for r in records) < 250, "frames came"
    assert "FRAME_LOST" in records[-1]["present"]
    assert records[-1]["mode"] != "NOMINAL"
    assert "camera:0: no frames: it ended; it is opened again" in done.stderr


def test_a_camera_in_another_mode_than_the_guards_is_refused(policy: Path, tmp_path: Path) -> None:
    done = from_fake_camera(policy, tmp_path, 65)
    assert done.returncode == 2
    assert "camera.front.frame: says 65 x 48, the camera gives 64 x 48" in done.stderr
    assert "Traceback" not in done.stderr


def test_colours_in_another_order_than_they_are_decoded_in_are_refused(
    policy: Path, pictures: np.ndarray, tmp_path: Path
) -> None:
    frame = 'rate_hz = 10\nframe = { width = 32, height = 32, format = "RGB" }'
    policy.write_text(policy.read_text().replace("rate_hz = 10", frame))
    cv2.imwrite(str(tmp_path / "0.png"), pictures[0])
    done = run(policy, "--source", ".", "--signal", "speed=20")
    assert done.returncode == 2
    assert 'camera.front.frame.format: is "RGB", but' in done.stderr
    np.savez(tmp_path / "drive.npz", x=pictures[..., ::-1])  # as the camera gave them
    check(lines(run(policy, "--source", "drive.npz", "--signal", "speed=20")), 8)


def test_a_signal_that_a_users_callable_cannot_say_is_invalid_and_no_end(
    policy: Path, pictures: np.ndarray, tmp_path: Path
) -> None:
    np.savez(tmp_path / "drive.npz", x=pictures)
    (tmp_path / "mine.py").write_text(
        "said = [20.0, None, 'fast', [20.0], {}, 10**400, float('nan')]\n"
        "def speed(t_ns):\n    return {'speed': said[t_ns // 10_000_000 % len(said)]}\n"
    )
    records = lines(run(policy, "--source", "drive.npz", "--signal", "mine:speed"))
    check(records, 8)
    for record in records:
        told = "INPUT_INVALID" in record["present"]
        assert told == (record["t_ns"] // 10_000_000 % 7 != 0)


def test_the_working_directory_shadows_no_package(policy: Path, tmp_path: Path) -> None:
    (tmp_path / "cv2.py").write_text("raise OSError('shadowed')\n")
    done = subprocess.run(
        [sys.executable, "-P", "-m", "edgeguard", "run", str(policy), "--source", "camera:77"],
        capture_output=True, text=True, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert "neither a video nor a camera" in done.stderr


def test_a_rule_of_ones_own_is_found_beside_its_guard_toml_and_shadows_nothing(
    policy: Path, pictures: np.ndarray, tmp_path: Path
) -> None:
    np.savez(tmp_path / "drive.npz", x=pictures)
    (tmp_path / "mine.py").write_text("def rule(floor): return lambda *_: 7.0\n")
    (tmp_path / "onnxruntime.py").write_text("raise OSError('shadowed')\n")
    policy.write_text(policy.read_text().replace("slow_and_hold", "mine:rule"))
    arguments = ["-m", "edgeguard", "run", str(policy), "--source", str(tmp_path / "drive.npz")]
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    done = subprocess.run(
        [sys.executable, *arguments, "--signal", "speed=20"],
        capture_output=True, text=True, check=False, cwd=elsewhere,
    )  # fmt: skip
    check(lines(done), 8)


@pytest.mark.parametrize("how", ["raise KeyError('speed')", "return None"])
def test_a_callable_that_says_no_signals_stops_the_vehicle_and_not_the_run(
    policy: Path, pictures: np.ndarray, tmp_path: Path, how: str
) -> None:
    np.savez(tmp_path / "drive.npz", x=pictures)
    (tmp_path / "mine.py").write_text(
        f"def speed(t_ns):\n    if t_ns > 300_000_000: {how}\n    return {{'speed': 20.0}}\n"
    )
    done = run(policy, "--source", "drive.npz", "--signal", "mine:speed")
    records = lines(done)
    assert "INPUT_INVALID" not in records[0]["present"]
    assert (records[-1]["mode"], records[-1]["causes"]) == ("SAFE_STOP", ["INPUT_INVALID"])
    assert done.stderr.count("--signal mine:speed: ") == 1


def test_a_signal_that_nothing_gives_is_named(
    policy: Path, pictures: np.ndarray, tmp_path: Path
) -> None:
    cv2.imwrite(str(tmp_path / "0.png"), pictures[0])
    assert "nothing gives signal.speed: " in run(policy, "--source", ".").stderr
    assert "nothing gives" not in run(policy, "--source", ".", "--signal", "speed=20").stderr


SPY = """
import pathlib, sys
RUNTIMES = ("onnxruntime", "litert", "tflite", "tensorflow", "torch")

def spy(decision, t_ns):
    maps = pathlib.Path("/proc/self/maps").read_text()
    found = [r for r in RUNTIMES if r in maps or any(r in name for name in sys.modules)]
    with open("found", "a") as file:
        print(found, decision.evidence["target_speed"]["voters"], file=file)
"""


def test_the_deciding_process_maps_no_ml_runtime(
    policy: Path, pictures: np.ndarray, tmp_path: Path
) -> None:
    """Unless the policy says so, every member of `edgeguard run` is in a process of its own."""
    np.savez(tmp_path / "drive.npz", x=pictures)
    (tmp_path / "mine.py").write_text(SPY)
    arguments = ("--source", "drive.npz", "--signal", "speed=10", "--sink", "mine:spy")
    done = run(policy, *arguments)
    assert done.returncode == 0, done.stderr
    found = (tmp_path / "found").read_text().splitlines()
    assert {line.rpartition(" ")[0] for line in found} == {"[]"}
    assert found[-1] == "[] 1", "and its member has voted"
    policy.write_text(
        policy.read_text().replace('camera = "front"', 'camera = "front"\nisolation = "none"')
    )
    assert run(policy, *arguments).returncode == 0
    assert "onnxruntime" in (tmp_path / "found").read_text(), "or the test would prove nothing"
