# SPDX-License-Identifier: Apache-2.0
"""Commands on a vehicle's CAN bus, as a DBC file describes them: a sink. Needs the extra `can`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import can
import cantools.database.can as dbc
from attrs import define, frozen
from cantools.database import errors

from edgeguard.config import GuardConfig
from edgeguard.decision import Decision
from edgeguard.errors import ConfigError, EdgeguardError

Values = Callable[[Mapping[str, float], bool], Mapping[str, float]]
"""(commands by channel, whether anybody asks for them) -> physical values by signal."""
Seal = Callable[[int, bytearray, int], None]
"""(frame id, payload, how many were sent before): writes counter and checksum into the payload."""


@frozen
class Message:
    """One message of the DBC file and what it says. Signals that `values` leaves out are raw 0."""

    name: str
    values: Values
    seal: Seal | None = None


@define
class _Line:
    message: Message
    known: dbc.Message
    rest: dict[str, Any]
    sent: int = 0


class Commands:
    """Sends the messages once for every decision, on the deciding thread.

    What the bus does not take is dropped, since an old command is worse than none; when it took
    nothing for `most_dropped` decisions in a row, nobody drives any more, and the call raises.
    """

    def __init__(
        self,
        bus: can.BusABC,
        database: dbc.Database,
        config: GuardConfig,
        messages: Sequence[Message],
        most_dropped: int = 10,
    ) -> None:
        """Raises ConfigError for a message that the file does not know, or cannot encode somewhere
        within the ranges of guard.toml: better here than on the road."""
        self.dropped = 0
        self._bus, self._most_dropped, self._in_a_row = bus, most_dropped, 0
        self._lines = [_Line(m, *_known(database, m.name)) for m in messages]
        for command, active in _corners(config):
            for line in self._lines:
                _try(line, command, active)

    def __call__(self, decision: Decision, t_ns: int) -> None:
        """Send. Raises EdgeguardError when the bus has been deaf for too long."""
        command, active, deaf = decision.command, decision.active, False
        for line in self._lines:
            data = bytearray(_encode(line, command, active))
            if line.message.seal is not None:
                line.message.seal(line.known.frame_id, data, line.sent)
            line.sent += 1
            deaf = not self._send(line.known, data) or deaf
        self._in_a_row = self._in_a_row + 1 if deaf else 0
        if self._in_a_row >= self._most_dropped:
            raise EdgeguardError(
                f"CAN: {self._bus.channel_info}: took nothing for {self._in_a_row} decisions"
            )

    def _send(self, known: dbc.Message, data: bytearray) -> bool:
        frame = can.Message(
            arbitration_id=known.frame_id, is_extended_id=known.is_extended_frame,
            is_fd=known.is_fd, data=data, check=False,
        )  # fmt: skip
        try:
            self._bus.send(frame, timeout=0)
        except can.CanError:
            self.dropped += 1
            return False
        return True


def _known(database: dbc.Database, name: str) -> tuple[dbc.Message, dict[str, Any]]:
    """A message, and its signals at raw 0."""
    try:
        found = database.get_message_by_name(name)
    except KeyError:
        raise ConfigError(f"CAN: {name}: the DBC file has no such message") from None
    if found.is_multiplexed():
        raise ConfigError(f"CAN: {name}: is multiplexed, which is not supported")
    return found, {s.name: s.raw_to_scaled(0, False) for s in found.signals}


def _corners(config: GuardConfig) -> Iterator[tuple[dict[str, float], bool]]:
    """The ends of everything that a decision may command; while nobody asks for commands they
    follow the measured values."""
    ends = []
    for channel in config.channels.values():
        measured = config.signals.get(channel.measured or "")
        ranges = [channel.range, measured.range] if measured else [channel.range]
        ends.append((min(r.low for r in ranges), max(r.high for r in ranges)))
    for values in product(*ends):
        for active in (False, True):
            yield dict(zip(config.channels, values, strict=True)), active


def _encode(line: _Line, command: Mapping[str, float], active: bool) -> bytes:
    return line.known.encode({**line.rest, **line.message.values(command, active)})


def _try(line: _Line, command: Mapping[str, float], active: bool) -> None:
    strange = set(line.message.values(command, active)) - set(line.rest)
    if strange:
        raise ConfigError(f"CAN: {line.message.name}: has no signal {', '.join(sorted(strange))}")
    try:
        _encode(line, command, active)
    except (errors.Error, OverflowError) as error:
        at = ", ".join(f"{name} = {value:g}" for name, value in command.items())
        raise ConfigError(f"CAN: {line.message.name}: at {at}: {error}") from None
