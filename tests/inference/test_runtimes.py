# SPDX-License-Identifier: Apache-2.0
"""What was requested is what runs (F08), and a runtime that cannot work gets our own error."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest
import tiny_models
from tiny_models import build, refusal, tiny, weights, write


@pytest.mark.parametrize("providers", [
    ["AzureExecutionProvider"], ["AzureExecutionProvider", "CPUExecutionProvider"],
])  # fmt: skip
def test_a_provider_that_runs_no_node_is_refused(tmp_path: Path, providers: list[str]) -> None:
    """This provider comes with every wheel, loads, reports itself, and computes nothing."""
    if providers[0] not in onnxruntime.get_available_providers():
        pytest.skip("this onnxruntime has no such provider")
    text = refusal(tiny(tmp_path), None, None, providers)
    assert "provider AzureExecutionProvider was requested and is not what runs" in text
    assert "request CPUExecutionProvider" in text


def test_a_provider_that_is_not_there_is_refused(tmp_path: Path) -> None:
    offered = onnxruntime.get_available_providers()
    absent = next(p for p in onnxruntime.get_all_providers() if p not in offered)
    text = refusal(tiny(tmp_path), None, None, [absent])
    assert f"provider {absent} was requested" in text
    assert f"offers {', '.join(offered)}: install the build that has it" in text


# --- runtimes that are not there ---

STUB = """
import sys
sys.path.insert(0, sys.argv[1])
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in sys.argv[2].split(","):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Hide())
import importlib.util
real = importlib.util.find_spec
def find(name, *rest):
    try:
        return real(name, *rest)
    except ModuleNotFoundError:
        return None
importlib.util.find_spec = find
import numpy
numpy.__version__ = sys.argv[3]
from edgeguard.card import Card
from edgeguard.errors import ModelRefused
from edgeguard.inference.model import load_model
try:
    load_model(Card.load(sys.argv[4]))
except ModelRefused as error:
    print(error)
print("loaded" if "tflite_runtime" in sys.modules else "not loaded")
"""


@pytest.mark.parametrize(
    ("hidden", "runtime", "expected"),
    [
        ("ai_edge_litert", "litert", "for numpy 1 and cannot run with numpy 2.4.6: pip install"),
        ("ai_edge_litert,tflite_runtime", "litert", "needs a TFLite runtime: pip install "),
        ("onnxruntime", "onnx", "needs onnxruntime (onnxruntime): pip install "),
    ],
)  # fmt: skip
def test_a_runtime_that_cannot_work_gets_our_own_error(
    tmp_path: Path, hidden: str, runtime: str, expected: str
) -> None:
    (tmp_path / "tflite_runtime").mkdir()
    for name in ("__init__", "interpreter"):
        (tmp_path / "tflite_runtime" / f"{name}.py").write_text("")
    path = write(tmp_path, build(weights()), runtime=runtime)
    done = subprocess.run(
        [sys.executable, "-c", STUB, str(tmp_path), hidden, "2.4.6", str(path)],
        cwd=tiny_models.ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert expected in done.stdout, done.stderr
    assert done.stdout.endswith("not loaded\n")
