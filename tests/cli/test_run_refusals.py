# SPDX-License-Identifier: Apache-2.0
"""`edgeguard run` that does not start, or ends by a user's mistake: one line that names it, and
nothing is lost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.cli.running import check, lines, run

pytest.importorskip("cv2", reason="folders and videos are read with OpenCV (extra images)")


def test_a_refused_start_leaves_what_was_written_before(
    policy: Path, pictures: np.ndarray, tmp_path: Path
) -> None:
    """A sink, a log, and whatever else is read."""
    np.savez(tmp_path / "drive.npz", x=pictures)
    kept = {"out.jsonl": b"{}\n", "flight.mcap": b"a log\n"}
    for name, content in kept.items():
        (tmp_path / name).write_bytes(content)
    kept[policy.name], kept["drive.npz"] = (
        policy.read_bytes(),
        (tmp_path / "drive.npz").read_bytes(),
    )
    asked = ["--source", "drive.npz", "--signal", "speed=20"]
    for more, said in (
        (["--sink", "out.jsonl", "--record", "flight.mcap"], "a log is never overwritten"),
        (["--sink", "flight.mcap", "--record", "flight.mcap"], "is the log of --record"),
        (["--sink", "out.jsonl", "--mcu", "/dev/null/none"], ""),
        (["--sink", policy.name], "is read here, and would be lost"),
        (["--sink", "drive.npz"], "is read here, and would be lost"),
    ):
        done = run(policy, *asked, *more)
        assert done.returncode == 2
        assert said in done.stderr
        assert {name: (tmp_path / name).read_bytes() for name in kept} == kept
    check(lines(run(policy, *asked, "--sink", "out.jsonl", "--sink", "-")), 8)
    assert (tmp_path / "out.jsonl").read_text().startswith('{"t_ns"')


USERS = """
import atexit
atexit.register(lambda: print("ended in order"))
def fails(*_):
    raise KeyError("speed")
def nothing(t_ns):
    return None
def speed(t_ns):
    return {"speed": 15.0}
number = 3
"""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sink", "mine:fails"], "sink mine:fails: KeyError: 'speed'"),
        (["--signal", "mine:number"], "--signal mine:number: is not callable"),
        (["--signal", "wild:speed"], "--signal wild:speed: division by zero"),
    ],
)
def test_what_a_users_callable_raises_ends_the_run_in_one_line(
    policy: Path, pictures: np.ndarray, tmp_path: Path, arguments: list[str], message: str
) -> None:
    text = policy.read_text().replace('camera = "front"', 'camera = "front"\nisolation = "process"')
    policy.write_text(text)
    np.savez(tmp_path / "drive.npz", x=pictures)
    (tmp_path / "mine.py").write_text(USERS)
    (tmp_path / "wild.py").write_text("1 / 0\n")
    done = run(policy, "--source", "drive.npz", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith(message)
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("front", "rear"),
        ("target_speed", "target"),
        ("rate_hz = 10", 'rate_hz = 10\nframe = { width = 64, height = 64, format = "GRAY" }'),
    ],
)
def test_a_guard_that_the_simulation_does_not_fit(policy: Path, old: str, new: str) -> None:
    policy.write_text(policy.read_text().replace(old, new))
    done = run(policy, "--source", "simulated")
    assert done.returncode == 2
    assert "--source simulated: wants [camera.front] in BGR" in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", [("--signal", "speed=3"), ("--camera", "front")])
def test_the_simulation_takes_nothing_besides(policy: Path, arguments: tuple[str, str]) -> None:
    done = run(policy, "--source", "simulated", *arguments)
    assert done.returncode == 2
    assert "leave out --camera and --signal" in done.stderr


def test_a_file_that_cannot_be_read_is_named_without_a_traceback(tmp_path: Path) -> None:
    done = run(tmp_path / "nowhere.toml", "--source", ".")
    assert done.returncode == 2
    assert "nowhere.toml" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--source", "nowhere.mp4"], "nowhere.mp4: no such file or folder"),
        (["--source", "http://10.0.0.1/front"], "a confined decoder reads rtsp:// alone"),
        (["--source", "rtsp://:1/front"], "want rtsp://[USER:PASSWORD@]HOST[:PORT]/PATH"),
        (["--source", "guard.toml"], "neither a video nor a camera"),
        (["--source", "camera:x"], "want camera:N"),
        (["--source", "camera:²"], "want camera:N"),
        (["--source", "camera:99999999999999999999"], "want camera:N"),
        (["--source", ""], "--source: is empty"),
        (["--source", "bad.npz"], "bad.npz: x: want frames"),
        (["--source", "."], "holds no pictures"),
        (["--source", ".", "--sink", "nothing:here"], "sink nothing:here"),
        (["--source", ".", "--sink", "/nowhere/out"], "sink /nowhere/out"),
        (["--source", ".", "--signal", "speed=fast"], "'fast' is not a number"),
        (["--source", ".", "--signal", "speed=nan"], "signal.speed.range of "),
        (["--source", ".", "--signal", "speed=-0.1"], "is [0, 70]: outside of it speed is INPUT_"),
        (["--source", ".", "--signal", "stranger=inf"], "stranger=inf: is no finite number"),
        (["--source", ".", "--signal", "nothing:here"], "--signal nothing:here"),
        (
            ["--source", ".", "--signal", "speed=0", "--signal", "a:b"],
            "a:b: a callable returns all",
        ),
        (
            ["--source", ".", "--signal", "a:b", "--signal", "speed=0"],
            "a:b: a callable returns all",
        ),
        (["--source", ".", "--signal", "speed=0", "--signal", "speed=9"], "speed is given twice"),
        (
            ["--source", ".", "--trust", "/nowhere.pub"],
            "guard.toml: --trust and --unsigned are for",
        ),
        (["--source", ".", "--unsigned"], "guard.toml: --trust and --unsigned are for bundles"),
        (["--source", ".", "--camera", "rear"], "want one of the file's cameras: front"),
    ],
)
def test_what_is_wrong_is_named(
    policy: Path, tmp_path: Path, arguments: list[str], message: str
) -> None:
    np.savez(tmp_path / "bad.npz", x=np.zeros(3))
    done = run(policy, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_recording_of_which_no_frame_fits_is_no_success(
    policy: Path, pictures: np.ndarray, tmp_path: Path
) -> None:
    np.savez(tmp_path / "grey.npz", x=pictures[..., 0])
    for more in ([], ["--realtime"]):
        done = run(policy, "--source", "grey.npz", "--signal", "speed=0", *more)
        assert done.returncode == 2
        assert "grey.npz: ended, and the guard took none of its frames" in done.stderr
        assert more or done.stdout.count("\n") == 71  # decided all the same
        assert more or done.stderr.count("front: frame refused: ") == 1
        assert "Traceback" not in done.stderr


def test_a_signal_that_nothing_here_can_prove_is_refused(policy: Path) -> None:
    text = policy.read_text()
    policy.write_text(text.replace("[signal.speed]", "[signal.speed]\nauthenticated = true"))
    done = run(policy, "--source", "simulated")
    assert done.returncode == 2
    assert "signal.speed: has to be authenticated" in done.stderr and "--mcu" in done.stderr
