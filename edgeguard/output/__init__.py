# SPDX-License-Identifier: Apache-2.0
"""Where decisions go."""

from edgeguard.output.sinks import JsonLines, Sink, as_record, open_sink

__all__ = ["JsonLines", "Sink", "as_record", "open_sink"]
