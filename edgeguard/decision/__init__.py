# SPDX-License-Identifier: Apache-2.0
"""The decision: the C99 core's face and the rule-based controllers that run in its shadow."""

from edgeguard._core import CAUSES, Core, Decision, Mode, Policy
from edgeguard.decision.controllers import Controller, Shadow, make_controller

__all__ = [
    "CAUSES",
    "Controller",
    "Core",
    "Decision",
    "Mode",
    "Policy",
    "Shadow",
    "make_controller",
]
