# SPDX-License-Identifier: Apache-2.0
"""The built wheel, in an environment and a folder that know nothing of the checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ROOT / "CMakeLists.txt").is_file():
        pytest.skip("needs the sources: the suite runs outside of a checkout")
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*build, "-w", str(folder), str(ROOT)], check=True)
    return next(folder.glob("edgeguard_monitor-*.whl"))


def test_holds_the_models_and_nothing_that_is_not_needed(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    shipped = {Path(n).name for n in names if n.startswith("edgeguard/_models/gtsrb/")}
    assert {"plain.onnx", "compact.tflite", "robust.onnx", "guard.toml", "stream.npz"} <= shipped
    assert not [n for n in names if ".float." in n or n.startswith("tests/")]
    assert "edgeguard/py.typed" in names
    assert [n for n in names if n.startswith("firmware_bridge/")]


def test_demo_from_the_wheel_in_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    venv, empty = tmp_path / "venv", tmp_path / "empty"
    empty.mkdir()
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True)
    site = next((venv / "lib").glob("python3*")) / "site-packages"
    with zipfile.ZipFile(wheel) as file:
        file.extractall(site)
    # the dependencies of this environment, without its editable edgeguard: no .pth is read there
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    done = subprocess.run(
        [str(venv / "bin" / "python"), "-m", "edgeguard", "demo"],
        cwd=empty, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert (empty / "edgeguard-demo" / "index.html").stat().st_size > 50_000
    where = subprocess.run(
        [str(venv / "bin" / "python"), "-c", "import edgeguard; print(edgeguard.__file__)"],
        cwd=empty, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert str(site) in where.stdout
