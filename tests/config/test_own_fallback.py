# SPDX-License-Identifier: Apache-2.0
"""A rule of one's own may do anything while it is made: it is refused by file and key."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeguard import Guard
from edgeguard.errors import ConfigError

MUTE = "class Mute(Exception):\n    def __str__(self): return 1 / 0\nraise Mute"


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "ModuleNotFoundError: No module named 'mycar'.*PYTHONPATH.*beside"),
        ("", "AttributeError: module 'mycar' has no attribute 'rule'"),
        ("def rule(:\n", r"SyntaxError: .*\(mycar.py, line 1\)"),
        ("raise RuntimeError('no bus')", "RuntimeError: no bus"),
        ("def rule(floor): return {}[floor]", "KeyError: 0.0"),
        ("def rule(): pass", "TypeError: .*'floor'"),
        ("raise SystemExit(1)", "SystemExit: 1"),
        (MUTE, "Mute: no message"),
        ("def rule(floor): return floor", "TypeError: made 0.0, which cannot be called"),
    ],
)
def test_a_rule_that_cannot_be_made_is_refused_by_file_and_key(
    edited: Callable[[str, str], Path],
    monkeypatch: pytest.MonkeyPatch,
    text: str | None,
    complaint: str,
) -> None:
    file = edited(
        'controller = "slow_and_hold", floor = 0.0', 'controller = "mycar:rule", floor = 0.0'
    )
    if text is not None:
        file.with_name("mycar.py").write_text(text)
    monkeypatch.syspath_prepend(file.parent)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.delitem(sys.modules, "mycar", raising=False)
    where = re.escape(f"{file}: channel.steering.fallback: controller 'mycar:rule': ")
    with pytest.raises(ConfigError, match=f"^{where}{complaint}"):
        Guard.load(file)
