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
PLACES = 9  # of each range: a command that cannot be encoded is found before the road


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
        """Raises ConfigError for a message that the file does not know, or that cannot be encoded
        and sealed at nine places of each range of guard.toml: better here than on the road."""
        self.dropped = 0
        self._bus, self._most_dropped, self._in_a_row = bus, most_dropped, 0
        self._lines = [_Line(m, *_known(database, m.name)) for m in messages]
        for command, active in _places(config):
            for line in self._lines:
                _payload(line, command, active)

    def __call__(self, decision: Decision, t_ns: int) -> None:
        """Send. Raises EdgeguardError when the bus has been deaf for too long, and ConfigError for
        a command that cannot be encoded."""
        deaf = False
        some = [(line, _payload(line, decision.command, decision.active)) for line in self._lines]
        for line, data in some:
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


def _places(config: GuardConfig) -> Iterator[tuple[dict[str, float], bool]]:
    """The ends of everything that a decision may command, and what lies between them; while nobody
    asks for commands they follow the measured values."""
    ranges = []
    for channel in config.channels.values():
        measured = config.signals.get(channel.measured or "")
        known = [channel.range, measured.range] if measured else [channel.range]
        low, high = min(r.low for r in known), max(r.high for r in known)
        ranges.append([low + (high - low) * i / (PLACES - 1) for i in range(PLACES)])
    for values in product(*ranges):
        for active in (False, True):
            yield dict(zip(config.channels, values, strict=True)), active


def _payload(line: _Line, command: Mapping[str, float], active: bool) -> bytearray:
    """Raises ConfigError with the command, whatever `values` and `seal` raise."""
    message, known = line.message, line.known
    try:
        values = {name: float(v) for name, v in message.values(command, active).items()}
        strange = set(values) - set(line.rest)
        if strange:
            raise ConfigError(f"has no signal {', '.join(sorted(strange))}")
        data = bytearray(known.encode({**line.rest, **values}))
        if message.seal is not None:
            message.seal(known.frame_id, data, line.sent)
        if len(data) != known.length:
            raise ConfigError(f"seal: made {len(data)} bytes of {known.length}")
    except Exception as error:
        what = str(error) if isinstance(error, (EdgeguardError, errors.Error)) else repr(error)
        at = ", ".join(f"{name} = {value:g}" for name, value in command.items())
        raise ConfigError(f"CAN: {message.name}: at {at}: {what}") from None
    return data
