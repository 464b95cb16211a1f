# SPDX-License-Identifier: Apache-2.0
"""The law of the built-in controllers."""

from __future__ import annotations

import pytest

from edgeguard.decision.controllers import make_controller


@pytest.mark.parametrize(
    ("floor", "last", "want"),
    [
        (0.0, 3.0, 0.0), (0.0, 0.0, 0.0), (0.0, -1.0, 0.0),
        (5.5, 9.0, 5.5), (5.5, 3.0, 3.0), (5.5, -3.0, -3.0), (5.5, -9.0, -5.5),
        (-1.0, 2.0, 1.0), (-1.0, -2.0, -1.0), (-1.0, 0.0, 0.0),
    ],
)  # fmt: skip
def test_slow_and_hold_never_speeds_up_and_never_turns_round(
    floor: float, last: float, want: float
) -> None:
    assert make_controller("slow_and_hold", {"floor": floor})({}, last, 0) == want
