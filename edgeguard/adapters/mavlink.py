# SPDX-License-Identifier: Apache-2.0
"""A companion computer's commands to PX4 or ArduPilot over MAVLink. Needs pymavlink.

PX4 leaves OFFBOARD when no setpoint came for COM_OF_LOSS_T (1 s), ArduPilot's Rover stops in GUIDED
after GUID_TIMEOUT (3 s): that is what stops the vehicle when this computer dies. It works only if
nobody keeps sending the last setpoint. So nothing here runs by itself: a decision is sent once,
when it was made. While nobody asks for commands the setpoints are those of a vehicle that stands:
PX4 grants OFFBOARD only to who sends some, and an autopilot that is left in its guided mode would
hold the last one.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from math import nan
from typing import Any

from attrs import define, field

from edgeguard.config import GuardConfig
from edgeguard.decision import Decision, Mode
from edgeguard.errors import ConfigError, EdgeguardError

# mavlink.io, common.xml
BODY_NED = 8  # MAV_FRAME: x forwards, y right, z down of the vehicle itself
ONBOARD_CONTROLLER, NO_AUTOPILOT = 18, 8  # MAV_TYPE, MAV_AUTOPILOT
ACTIVE, CRITICAL, EMERGENCY = 4, 5, 6  # MAV_STATE
SAFETY_ARMED = 128  # MAV_MODE_FLAG
# POSITION_TARGET_TYPEMASK: not position (1, 2, 4), not acceleration (64, 128, 256), not yaw (1024)
VELOCITY_AND_YAW_RATE = 0x5C7
HEARTBEAT_NS = 1_000_000_000
AXES = {"forward": "m/s", "right": "m/s", "down": "m/s", "turn": "rad/s"}
SIDEWAYS = "right", "down"


_log = logging.getLogger("edgeguard")


class Setpoints:
    """A sink: SET_POSITION_TARGET_LOCAL_NED for the decisions, in the vehicle's own frame, and a
    heartbeat every second that is sent with one of them.

    No decision is sent twice.
    """

    def __init__(
        self,
        link: Any,
        config: GuardConfig,
        axes: dict[str, str],
        system: int = 1,
        component: int = 1,
        most_hz: float = 50.0,
        flies: bool = False,
    ) -> None:
        """link: of pymavlink.mavutil.mavlink_connection; axes: the channel for each of "forward",
        "right", "down" (m/s) and "turn" (rad/s, to the right); those not named are 0; system,
        component: of the autopilot; most_hz: what the link can take; flies: it goes "right" and
        "down", too, as multicopters do. Raises ConfigError when a channel is not there, in another
        unit, goes forward and has no `measured`, or goes where the vehicle cannot."""
        _check(config, axes, flies)
        self._link, self._mav, self._axes, self._to = link, link.mav, axes, (system, component)
        self._least_ns = round(0.9e9 / most_hz)  # ticks jitter
        self._sequence: int | None = None
        self._sent_ns = self._beat_ns = -HEARTBEAT_NS

    def __call__(self, decision: Decision, t_ns: int) -> None:
        """Send it, if it is a new one. Raises EdgeguardError when the port is gone."""
        if decision.sequence == self._sequence:
            return
        self._sequence = decision.sequence
        if t_ns - self._beat_ns >= HEARTBEAT_NS:
            self._beat_ns = t_ns
            self._mav.heartbeat_send(ONBOARD_CONTROLLER, NO_AUTOPILOT, 0, 0, _state(decision.mode))
        if t_ns - self._sent_ns >= self._least_ns:
            self._sent_ns = t_ns
            self._send(decision.command if decision.active else {}, t_ns)
        if getattr(self._link, "portdead", False):  # pymavlink's write says nothing of it
            raise EdgeguardError(f"MAVLink: {self._link.address}: the port is gone")

    def _send(self, command: Mapping[str, float], t_ns: int) -> None:
        """A channel that commands nothing stands still."""
        forward, right, down, turn = (command.get(self._axes.get(axis, ""), 0.0) for axis in AXES)
        self._mav.set_position_target_local_ned_send(
            t_ns // 1_000_000 & 0xFFFFFFFF, *self._to, BODY_NED, VELOCITY_AND_YAW_RATE,
            0.0, 0.0, 0.0, forward, right, down, 0.0, 0.0, 0.0, 0.0, turn,
        )  # fmt: skip


@define
class Vehicle:
    """What the autopilot says about itself, as signals: `speed` in m/s, `engaged`.

    What is older than `max_age_ms` is NaN, or not engaged: it does not stand still because nothing
    is heard of it.
    """

    link: Any
    guided_mode: int
    """custom_mode in which it takes setpoints: Rover 15 (GUIDED), PX4 6 << 16 (OFFBOARD)."""
    system: int = 1
    component: int = 1
    """Of the autopilot: a gimbal or a camera beside it has a heartbeat of its own."""
    max_age_ms: float = 500.0
    _speed: float = field(default=nan, init=False)
    _guided: bool = field(default=False, init=False)
    _speed_ns: int | None = field(default=None, init=False)
    _mode_ns: int | None = field(default=None, init=False)
    _deaf: bool = field(default=False, init=False)

    def signals(self, t_ns: int) -> dict[str, float]:
        """Read what has come, without waiting. A port that fails says nothing; never raises."""
        autopilot = self.system, self.component
        for message in self._waiting():
            if (message.get_srcSystem(), message.get_srcComponent()) == autopilot:
                self._take(message, t_ns)
        speed = self._speed if self._fresh(self._speed_ns, t_ns, 1.0) else nan
        engaged = self._guided and self._fresh(self._mode_ns, t_ns, 6.0)  # heartbeats come at 1 Hz
        return {"speed": speed, "engaged": float(engaged)}

    def _waiting(self) -> Iterator[Any]:
        """All that has come. Of a datagram that ends no message pymavlink says nothing, though
        others wait behind it."""
        while True:
            before = self.link.mav.total_bytes_received
            message = self._heard()
            if message is not None:
                yield message
            elif self.link.mav.total_bytes_received == before:
                return

    def _heard(self) -> Any:
        try:
            message = self.link.recv_msg()
        except Exception as error:  # pulled out: pyserial, socket and pymavlink have their own
            if not self._deaf:
                _log.error("MAVLink: %s: %s", self.link.address, error)
            self._deaf = True
            return None
        self._deaf = False
        return message

    def _take(self, message: Any, t_ns: int) -> None:
        kind = message.get_type()
        if kind == "VFR_HUD":
            self._speed, self._speed_ns = message.groundspeed, t_ns
        elif kind == "HEARTBEAT" and message.autopilot != NO_AUTOPILOT:
            self._guided = message.custom_mode == self.guided_mode and bool(
                message.base_mode & SAFETY_ARMED
            )
            self._mode_ns = t_ns

    def _fresh(self, since_ns: int | None, t_ns: int, times: float) -> bool:
        return since_ns is not None and t_ns - since_ns <= times * self.max_age_ms * 1e6


def _state(mode: Mode) -> int:
    """For the ground station."""
    if mode >= Mode.SAFE_STOP:
        return EMERGENCY
    return CRITICAL if mode >= Mode.FALLBACK else ACTIVE


def _check(config: GuardConfig, axes: dict[str, str], flies: bool) -> None:
    for axis, name in axes.items():
        channel = config.channels.get(name)
        if axis not in AXES:
            raise ConfigError(f"MAVLink: axis {axis!r}: want one of {', '.join(AXES)}")
        if axis in SIDEWAYS and not flies:  # Rover drives the vector's length straight ahead
            raise ConfigError(
                f"MAVLink: axis {axis!r}: a rover would drive forward for it; say flies=True for a"
                " vehicle that can go there"
            )
        if channel is None:
            raise ConfigError(f"{config.source}: channel.{name}: is not there; MAVLink needs it")
        if channel.unit != AXES[axis]:
            raise ConfigError(
                f"{config.source}: channel.{name}.unit: is {channel.unit}; MAVLink takes"
                f" {AXES[axis]} for {axis}"
            )
        if axis == "forward" and channel.measured is None:
            raise ConfigError(
                f"{config.source}: channel.{name}.measured: missing; name the signal of the speed,"
                " or the vehicle resumes its old command when it is engaged again"
            )
