# SPDX-License-Identifier: Apache-2.0
"""The flight recorder: every input of every decision, in a signed log that anybody can replay.

Needs the extra ``record``.
"""

from edgeguard.errors import EdgeguardError

try:
    from edgeguard.output.recorder.about import about
    from edgeguard.output.recorder.recorder import Recorder
except ModuleNotFoundError as error:  # in one's own loop nobody else would name the extra
    package = (error.name or "").partition(".")[0]
    if package == "edgeguard":
        raise
    raise EdgeguardError(
        f"edgeguard.output.recorder: needs {package}; pip install 'edgeguard-monitor[record]'"
    ) from None

__all__ = ["Recorder", "about"]
