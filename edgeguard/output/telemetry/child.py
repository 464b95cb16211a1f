# SPDX-License-Identifier: Apache-2.0
"""The telemetry process; started by ``process.Process`` and by nobody else."""

from __future__ import annotations

import contextlib
import signal
import socket
import sys

from edgeguard import sandbox


def main() -> None:
    """Arguments: the number of the inherited socket, host, port. Says what it serves, or why not,
    and ends when the deciding process does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the deciding process
    with contextlib.suppress(OSError):  # then it keeps the one that it has
        sandbox.ordinary(10)
    decider = socket.socket(fileno=int(sys.argv[1]))
    try:
        from edgeguard.output.telemetry.board import Board

        board = Board(decider)
        board.hear()  # what is offered here, before anybody can ask for it
        from edgeguard.output.telemetry.server import serve

        serve(board, sys.argv[2], int(sys.argv[3]), lambda: _say(decider, "serving"))
    except ModuleNotFoundError as error:
        _say(decider, f"needs {error.name}; pip install 'edgeguard-monitor[telemetry]'")
    except OSError as error:
        _say(decider, error.strerror or str(error))


def _say(decider: socket.socket, text: str) -> None:
    with contextlib.suppress(OSError):  # then there is nobody left to hear it
        decider.send(text.encode())
