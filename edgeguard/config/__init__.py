# SPDX-License-Identifier: Apache-2.0
"""guard.toml: the whole behaviour of a guard in one file, checked before anything runs.

`load` reads it, `policy_dict` turns it into the integers of the decision core.
"""

from __future__ import annotations

from edgeguard.config.bounds import Bound, bounds
from edgeguard.config.defaults import defaults_text
from edgeguard.config.load import load, load_cards, model_path
from edgeguard.config.mcu import mcu_dict
from edgeguard.config.policy import policy_dict
from edgeguard.config.schema import GuardConfig

__all__ = [
    "Bound",
    "GuardConfig",
    "bounds",
    "defaults_text",
    "load",
    "load_cards",
    "mcu_dict",
    "model_path",
    "policy_dict",
]
