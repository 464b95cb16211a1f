# SPDX-License-Identifier: Apache-2.0
"""One small evaluation of the shipped guard, made once for all tests that look at its files."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np

from edgeguard.lab.attacks.inputs import Request
from edgeguard.lab.attacks.report import Found, run
from tests.lab.signs import signs

ASKED = ("fgsm", "pgd", "cw_l2", "cw_l2_float", "hopskipjump", "guard")


@cache
def evaluated() -> tuple[Request, Found]:
    """What was asked for and what was found: three members, the whole guard, three pictures."""
    folder = Path(tempfile.mkdtemp(prefix="edgeguard-attack-"))
    atexit.register(shutil.rmtree, folder)
    x, y = signs(300)
    np.savez(folder / "few.npz", x=x.transpose(0, 2, 3, 1), y=y)
    request = Request(None, 3, True, (), ASKED, folder / "few.npz", None, folder / "results")
    return request, run(request)
