# SPDX-License-Identifier: Apache-2.0
"""A page and metrics for people, served by a process of their own.

    deciding process ── snapshots ──▶ telemetry process ──▶ browser, Prometheus
                     ◀── requests ───

``disclosure`` says what may leave, ``feed`` tells it without ever waiting, ``operator`` carries out
what a person asks for. ``server``, ``metrics`` and ``page.html`` are the other process.
"""

from edgeguard.output.telemetry.feed import Feed
from edgeguard.output.telemetry.operator import Requests, read_token
from edgeguard.output.telemetry.process import Process

__all__ = ["Feed", "Process", "Requests", "read_token"]
