# SPDX-License-Identifier: Apache-2.0
"""Inference: models behind one face, their self-test, and members in this process or in their own.

Importing this package, or any module in it, loads no ML runtime: the adapters import theirs when
a model is opened, and a process member opens its model in the child.
"""

from edgeguard.inference.members import Member, MemberSpec, Result, open_members
from edgeguard.inference.model import Model, inspect_model, load_model, open_model

__all__ = [
    "Member",
    "MemberSpec",
    "Model",
    "Result",
    "inspect_model",
    "load_model",
    "open_members",
    "open_model",
]
