# SPDX-License-Identifier: Apache-2.0
"""What turns a guard's tick: on the clock or ahead of it, and how punctual it was."""

from edgeguard.loop.loop import Loop, Operator, Signals, Watcher
from edgeguard.loop.timing import Histogram, Timing

__all__ = ["Histogram", "Loop", "Operator", "Signals", "Timing", "Watcher"]
