# SPDX-License-Identifier: Apache-2.0
"""Real workers, confined as every worker is, whose model does something else when it is run."""

from __future__ import annotations

_PROGRAM = """
import sys, json
o = json.loads(sys.argv[1])
sys.path[:] = o["path"]
import ctypes, errno, os, resource, signal, socket, time
import numpy as np
from edgeguard import sandbox
from edgeguard.inference import worker
sandbox.die_with(o["parent"])
load, libc = worker.load_model, ctypes.CDLL(None, use_errno=True)

class Strange:
    def __init__(self, model): self.model = model
    def __getattr__(self, name): return getattr(self.model, name)
    def run(self):
%s

%s
worker.load_model = lambda *a: Strange(load(*a))
sys.exit(worker.main(o))
"""


def program(run: str, before: str = "") -> str:
    """The source of a worker whose model runs these lines; ``before``: lines of the module."""
    return _PROGRAM % ("".join(f"        {line}\n" for line in run.strip().splitlines()), before)
