# SPDX-License-Identifier: Apache-2.0
"""F28: mutated model files, each with a card that vouches for it, end in a refused member.

They are opened one after another in a confined process, as a worker opens its own; one that kills
it is counted, and the next is opened in a new one.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from tiny_models import tiny

from edgeguard import sandbox
from edgeguard.zoo import models_dir

MUTATIONS = int(os.environ.get("EDGEGUARD_MUTATIONS", "500"))

PROGRAM = """
import sys, json
o = json.loads(sys.argv[1])
sys.path[:] = o["path"]
import hashlib, os, random, time
from pathlib import Path
from edgeguard import sandbox
sandbox.die_with(o["parent"])
from edgeguard.card import Card
from edgeguard.errors import ModelRefused
from edgeguard.inference.model import load_model
folder = Path(o["folder"])
originals = [(Card.load(folder / c), (folder / f).read_bytes()) for c, f in o["models"]]
need = sandbox.Need((folder,))
sandbox.confine(need)
import onnxruntime
try:
    import ai_edge_litert.interpreter
except ImportError:
    import tflite_runtime.interpreter
sandbox.limit(need)
clock = sandbox.Clock()

def mutated(number):
    rng = random.Random(number)
    card, data = originals[number % len(originals)]
    at, count = rng.randrange(len(data)), rng.randint(1, 64)
    kind = rng.choice("flip cut repeat drop".split())
    if kind == "flip":
        data = bytearray(data)
        for _ in range(rng.randint(1, 8)):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "cut":
        data = data[:at]
    elif kind == "repeat":
        data = data[:at] + data[at:at + count] * rng.randint(2, 50) + data[at:]
    else:
        data = data[:at] + data[at + count:]
    return card, bytes(data)

from edgeguard.inference import model
held = b""
model._read = lambda path: held if path.suffix in (".onnx", ".tflite") else path.read_bytes()
for number in range(o["first"], o["end"]):
    card, held = mutated(number)
    facts = card.to_dict() | {"sha256": hashlib.sha256(held).hexdigest(),
                              "labels": list(card.labels)}
    try:
        load_model(Card.from_dict(facts, folder)).close()
        end = "loaded"
    except ModelRefused as refused:
        end = "refused" if card.model_path.name in str(refused) else f"unnamed: {refused}"
    except MemoryError:
        end = "killed"  # as it would a worker
    os.write(o["mouth"], (end + "\\n").encode())
    clock.answered(time.process_time())
"""


def ends(folder: Path, models: list[tuple[str, str]], first: int) -> tuple[list[str], int]:
    """How the mutants from ``first`` on ended, and the code with which the process ended."""
    ear, mouth = os.pipe()
    options: dict[str, Any] = {"folder": str(folder), "models": models, "mouth": mouth}
    options |= {"first": first, "end": MUTATIONS}
    process = sandbox.start(PROGRAM, options, (mouth,))
    os.close(mouth)
    with os.fdopen(ear) as file:
        return file.read().splitlines(), process.wait()


def test_mutated_models_end_in_a_refusal(tmp_path: Path) -> None:
    tiny(tmp_path)
    for file in (*models_dir().glob("compact*"), models_dir() / "labels.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    models = [("tiny.card.json", "tiny.onnx"), ("compact.card.json", "compact.tflite")]
    found: list[str] = []
    while len(found) < MUTATIONS:
        some, code = ends(tmp_path, models, len(found))
        found += some
        if len(found) < MUTATIONS:
            assert code < 0, f"mutant {len(found)} raised something else; exit code {code}"
            found.append("killed")
    count = {end: found.count(end) for end in ("refused", "loaded", "killed")}
    print(count)
    assert sum(count.values()) == MUTATIONS, set(found) - set(count)
    assert count["refused"] > MUTATIONS // 2
    assert count["killed"] < MUTATIONS // 3, count  # 30 % with tflite-runtime 2.14
