# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from child import READY_S, Open
from tiny_models import tiny

from edgeguard.inference.child import ChildProcess
from edgeguard.inference.members import MemberSpec


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Open]:
    """Opens process members of the tiny model and closes them after the test."""
    members: list[ChildProcess] = []

    def make(**options: Any) -> ChildProcess:
        options = {"backoff_s": 0.01} | options
        members.append(
            ChildProcess(MemberSpec("m", tiny(tmp_path), isolation="process", **options))
        )
        members[-1].await_ready(READY_S)
        return members[-1]

    yield make
    for member in members:
        member.close()
