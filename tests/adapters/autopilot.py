# SPDX-License-Identifier: Apache-2.0
"""An autopilot in a process of its own, at the other end of a UDP socket: it checks what PX4 and
ArduPilot's Rover check of setpoints, and loses patience when they do.

PX4 (commander/HealthAndArmingChecks/checks/offboardCheck.cpp, mavlink_receiver.cpp, docs of the
offboard mode): setpoints for it, in NED of the place or of the body, with a finite velocity;
OFFBOARD only after more than 2 Hz for a second, and until COM_OF_LOSS_T without one.
Rover (mode_guided.cpp, GCS_MAVLink_Rover.cpp): acceleration must be ignored; velocity and turn rate
hold until GUID_TIMEOUT without a new one.

`python -m tests.adapters.autopilot px4|rover PORT` prints an event a line as JSON.
"""

from __future__ import annotations

import json
import math
import sys
import time
from typing import Any

from pymavlink import mavutil

COM_OF_LOSS_T_S, PROOF_S, MOST_APART_S = 1.0, 1.0, 0.5
GUID_TIMEOUT_S = 3.0
POSITION, VELOCITY, ACCELERATION, YAW_RATE = 0x007, 0x038, 0x1C0, 0x800
FRAMES = {"px4": (1, 8), "rover": (1, 7, 8, 9)}
GUIDED = {"px4": 6 << 16, "rover": 15}
ACCELERATES_MPS2 = 4.0
SET_MESSAGE_INTERVAL = mavutil.mavlink.MAV_CMD_SET_MESSAGE_INTERVAL


class Autopilot:
    """One vehicle that follows the last setpoint it took."""

    def __init__(self, kind: str, port: int) -> None:
        self.kind, self.armed_mode = kind, GUIDED[kind]
        self.link: Any = mavutil.mavlink_connection(
            f"udpin:127.0.0.1:{port}", source_system=1, source_component=1
        )
        self.mode, self.speed, self.target = 0, 0.0, 0.0
        self.steady_since: float | None = None
        self.last: float | None = None
        self.beat = self.hud = 0.0
        self.hud_s = 1.0  # until somebody asks for more

    def tell(self, event: str, **more: Any) -> None:
        print(json.dumps({"t": time.monotonic(), "event": event, **more}), flush=True)

    def run(self) -> None:
        """Until the other end closes stdin or kills it."""
        self.tell("ready")
        before = time.monotonic()
        while True:
            message = self.link.recv_match(blocking=True, timeout=0.01)
            now = time.monotonic()
            if message is not None:
                self.take(message, now)
            self.watch(now)
            step = ACCELERATES_MPS2 * (now - before)
            self.speed += min(max(self.target - self.speed, -step), step)
            before = now
            self.say(now)

    def take(self, message: Any, now: float) -> None:
        kind = message.get_type()
        if kind == "SET_POSITION_TARGET_LOCAL_NED":
            self.setpoint(message, now)
        elif kind == "COMMAND_LONG" and message.command == mavutil.mavlink.MAV_CMD_DO_SET_MODE:
            good = self.kind == "rover" or self.proven(now)
            if good:
                self.mode = self.armed_mode
            self.link.mav.command_ack_send(message.command, 0 if good else 1)
            self.tell("mode", asked=True, taken=good)
        elif kind == "COMMAND_LONG" and message.command == SET_MESSAGE_INTERVAL:
            if message.param1 == mavutil.mavlink.MAVLINK_MSG_ID_VFR_HUD:
                self.hud_s = message.param2 / 1e6
        elif kind == "HEARTBEAT":
            self.tell("heartbeat", type=message.type, state=message.system_status)

    def setpoint(self, m: Any, now: float) -> None:
        wrong = self.refuses(m)
        if wrong:
            self.tell("refused", why=wrong)
            return
        if self.last is None or now - self.last > MOST_APART_S:
            self.steady_since = now
        self.last = now
        if self.mode == self.armed_mode:
            # Rover: GCS_MAVLink_Rover.cpp takes the vector's length, and the sign of vx alone
            along = math.copysign(math.hypot(m.vx, m.vy), m.vx)
            self.target = along if self.kind == "rover" else m.vx
        self.tell("setpoint", vx=m.vx, turn=m.yaw_rate, from_system=m.get_srcSystem())

    def refuses(self, m: Any) -> str | None:
        checks = {
            "not for this system": m.target_system in (0, 1) and m.target_component in (0, 1),
            "frame": m.coordinate_frame in FRAMES[self.kind],
            "not a velocity alone": m.type_mask & (VELOCITY | POSITION) == POSITION,
            "acceleration must be ignored": m.type_mask & ACCELERATION == ACCELERATION,
            "not finite": all(map(math.isfinite, (m.vx, m.vy, m.vz, m.yaw_rate))),
            "no turn rate": not m.type_mask & YAW_RATE,
        }
        return next((why for why, good in checks.items() if not good), None)

    def proven(self, now: float) -> bool:
        """Whether setpoints have come for long enough, and still do."""
        if self.last is None or self.steady_since is None or now - self.last > MOST_APART_S:
            return False
        return now - self.steady_since > PROOF_S

    def watch(self, now: float) -> None:
        """Its own time-out: PX4 leaves the mode and holds, Rover stops."""
        if self.mode != self.armed_mode or self.last is None:
            return
        patience = COM_OF_LOSS_T_S if self.kind == "px4" else GUID_TIMEOUT_S
        if now - self.last > patience and self.target != 0.0:
            self.target = 0.0
            self.mode = 0 if self.kind == "px4" else self.mode
            self.tell("lost", after=now - self.last, speed=self.speed)

    def say(self, now: float) -> None:
        if now - self.beat > 1.0:
            self.beat = now
            base = mavutil.mavlink.MAV_MODE_FLAG_SAFETY_ARMED
            self.link.mav.heartbeat_send(10, 12 if self.kind == "px4" else 3, base, self.mode, 4)
        if now - self.hud > self.hud_s:
            self.hud = now
            self.link.mav.vfr_hud_send(0.0, self.speed, 0, 0, 0.0, 0.0)
            self.tell("speed", speed=self.speed)


if __name__ == "__main__":
    Autopilot(sys.argv[1], int(sys.argv[2])).run()
