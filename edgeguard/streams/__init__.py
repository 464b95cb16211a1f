# SPDX-License-Identifier: Apache-2.0
"""Simulated sensor streams with their ground truth, the faults that befall them, and a car.

`drive` is the one place that steps a guard, a car and the truth together.
"""

from __future__ import annotations
