# SPDX-License-Identifier: Apache-2.0
"""The flight recorder: every input of every decision, in a signed log that anybody can replay.

Needs the extra ``record``.
"""

from edgeguard.output.recorder.about import about
from edgeguard.output.recorder.recorder import Recorder

__all__ = ["Recorder", "about"]
