# SPDX-License-Identifier: Apache-2.0
"""The program of a process member: loads one model, proves it, and answers frame by frame.

Protocol, over a SOCK_SEQPACKET pair: first the worker sends one JSON object, ``{"provider": ...}``
or ``{"refused": reason}``. Then the member sends REQUEST (serial, slot) and the worker answers
REPLY (serial, slot, t_ready_ns) when scores and embedding stand in the slot, or REPLY (serial,
FAILED, 0) and the reason as text when the runtime failed. The end of either side ends the other.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from edgeguard.card import Card
from edgeguard.errors import EdgeguardError, InferenceError
from edgeguard.inference.memory import SlotMemory
from edgeguard.inference.model import Model, load_model

REQUEST = struct.Struct("<qq")
REPLY = struct.Struct("<qqq")
FAILED = -1  # in the place of a slot
LONGEST = REPLY.size + 512  # bytes of a message, the reason's text cut
_PR_SET_PDEATHSIG = 1


def main(options: dict[str, Any]) -> int:
    """Run a worker. ``options``: descriptors ``socket``, ``memory``, ``spec``; ``parent`` pid."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends us in order
    _die_with(options["parent"])
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    channel = socket.socket(fileno=options["socket"])
    try:
        spec = _read_spec(options["spec"])
        card = Card.from_dict(spec["card"], Path(spec["directory"]))
        model = load_model(card, spec["model_path"], spec["runtime"], spec["providers"])
    except EdgeguardError as error:
        channel.send(json.dumps({"refused": str(error)[:1000]}).encode())
        return 1
    memory = SlotMemory(card, options["memory"])
    channel.send(json.dumps({"provider": model.provider}).encode())
    return _serve(channel, model, memory)


def _serve(channel: socket.socket, model: Model, memory: SlotMemory) -> int:
    """Answer until the member hangs up. An InferenceError ends the worker; the next is tested."""
    while True:
        request = channel.recv(REQUEST.size)
        if not request:
            return 0
        serial, slot = REQUEST.unpack(request)
        model.bind_input(memory.inputs[slot])
        model.bind_scores(memory.scores[slot])
        try:
            model.run()
        except InferenceError as error:
            channel.send((REPLY.pack(serial, FAILED, 0) + str(error).encode())[:LONGEST])
            return 1
        if model.embedding is not None:
            np.copyto(memory.embeddings[slot], model.embedding)
        channel.send(REPLY.pack(serial, slot, time.monotonic_ns()))


def _read_spec(fd: int) -> dict[str, Any]:
    with os.fdopen(fd, "rb") as file:
        file.seek(0)
        spec: dict[str, Any] = json.load(file)
    return spec


def _die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent ends, and end now if it has already."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)
