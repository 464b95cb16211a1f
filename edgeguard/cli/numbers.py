# SPDX-License-Identifier: Apache-2.0
"""Numbers on a command line."""

from __future__ import annotations

import math
from typing import Any

import click

MOST_S = 1e9  # 32 years: in nanoseconds it fits 63 bits, beside any clock


class Finite(click.FloatRange):
    """A float in a range. NaN compares false with every end and an infinity lies in every open
    range, so that both would pass as FloatRange is: neither is a wish that can be kept."""

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number
