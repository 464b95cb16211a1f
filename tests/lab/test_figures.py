# SPDX-License-Identifier: Apache-2.0
"""Results files are JSON that any reader takes."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from edgeguard.figures import Figure, at_most, write


def no_number(text: str) -> None:
    raise AssertionError(f"{text} is no JSON")


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_a_value_that_was_never_reached_is_null_and_its_bar_is_missed(
    value: float, tmp_path: Path
) -> None:
    file = tmp_path / "out.json"
    late = at_most("late", abs(value), 500, "ms")
    write(file, [late, Figure("early", 2.5), {"id": "more", "value": value, "of": 3}], 0, ())
    found = json.loads(file.read_text(), parse_constant=no_number)["figures"]
    assert [f["value"] for f in found] == [None, 2.5, None]
    assert found[0]["holds"] is False
    assert found[2]["of"] == 3


def test_what_is_no_number_elsewhere_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write(tmp_path / "out.json", [Figure("rate", 0.5, interval=(0.1, math.nan))], 0, ())
    assert not (tmp_path / "out.json").exists()
