# SPDX-License-Identifier: Apache-2.0
"""The frames of two brands: the car's packed by opendbc's own packer, ours by the adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import cantools.database.can as dbc
from cantools.database import load_string
from opendbc import DBC_PATH, get_generated_dbcs
from opendbc.can.packer import CANPacker

from edgeguard.adapters.can import Message
from tests.adapters.judge.car import Car

Frame = tuple[int, bytes, int]
"""Identifier, payload, bus."""
HERE = Path(__file__).parent
NISSAN, TESLA = 14, 10  # of opendbc's safety modes


class Brand(Protocol):
    """What the loop needs to know of a car."""

    name: str
    mode: int
    param: int
    period_s: float
    most_mps: float
    angle_grid: float
    """Degrees: the steps in which its sensor says the angle."""
    speed_grid: float
    most: Mapping[str, float]
    """By member, how far its suggestions go."""
    messages: list[Message]
    database: dbc.Database

    def frames(self, car: Car, tick: int) -> Iterator[Frame]:
        """What the car sends in this period."""


def database(name: str) -> dbc.Database:
    """A DBC file of opendbc."""
    file = Path(DBC_PATH) / f"{name}.dbc"
    text = file.read_text() if file.exists() else get_generated_dbcs()[name]
    found = load_string(text, "dbc")
    assert isinstance(found, dbc.Database)
    return found


def _crc8(data: bytes) -> int:
    """SAE J1850."""
    crc = 0
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ (0x1D if crc & 0x80 else 0)) & 0xFF
    return crc ^ 0xFF


class Nissan:
    """X-Trail 2017: the angle of the steering wheel, 100 Hz."""

    name, mode, param = "nissan", NISSAN, 0
    period_s, most_mps, angle_grid, speed_grid = 0.01, 45.0, 0.1, 0.005 / 3.6
    most: Mapping[str, float] = {"network": 300.0}

    def __init__(self) -> None:
        self.database = database("nissan_x_trail_2017_generated")
        self.messages = [Message("LKAS", self.steer, self.seal)]
        self._pack: Any = CANPacker("nissan_x_trail_2017_generated").make_can_msg

    @staticmethod
    def steer(command: Mapping[str, float], active: bool) -> dict[str, float]:
        return {
            "DESIRED_ANGLE": command["steering"], "LKA_ACTIVE": active, "SET_0x80": 0x80,
            "SET_0x80_2": 0x80, "MAX_TORQUE": 0.5 if active else 0.0,
        }  # fmt: skip

    @staticmethod
    def seal(frame_id: int, data: bytearray, sent: int) -> None:
        data[6] = data[6] & 0xF0 | sent % 16
        data[7] = _crc8(data[:7])

    def frames(self, car: Car, tick: int) -> Iterator[Frame]:
        wheels = dict.fromkeys(("WHEEL_SPEED_RR", "WHEEL_SPEED_RL"), car.speed_seen * 3.6)
        yield self._pack("STEER_ANGLE_SENSOR", 0, {"STEER_ANGLE": car.angle_seen})
        if tick % 2 == 0:
            yield self._pack("WHEEL_SPEEDS_REAR", 0, wheels)
            yield self._pack("GAS_PEDAL", 0, {"GAS_PEDAL": 40 * car.gas})
        yield self._pack("DOORS_LIGHTS", 0, {"USER_BRAKE_PRESSED": car.brake})
        yield self._pack("CRUISE_STATE", 2, {"CRUISE_ENABLED": car.cruise})


class Tesla:
    """Model 3 and Y: the angle of the steering wheel and the acceleration, 50 Hz."""

    name, mode, param = "tesla", TESLA, 1  # 1: it lets us command the acceleration too
    period_s, most_mps, angle_grid, speed_grid = 0.02, 60.0, 0.1, 0.08 / 3.6
    most: Mapping[str, float] = {"network": 250.0, "cruise": 5.0}

    def __init__(self) -> None:
        self.database = database("tesla_model3_party")
        self.messages = [
            Message("DAS_steeringControl", self.steer, self.seal),
            Message("DAS_control", self.pull, self.seal),
        ]
        self._pack: Any = CANPacker("tesla_model3_party").make_can_msg

    @staticmethod
    def steer(command: Mapping[str, float], active: bool) -> dict[str, float]:
        return {
            "DAS_steeringAngleRequest": command["steering"], "DAS_steeringControlType": active,
        }  # fmt: skip

    @staticmethod
    def pull(command: Mapping[str, float], active: bool) -> dict[str, float]:
        accel = command["accel"] if active else 0.0
        return {"DAS_accelMin": accel, "DAS_accelMax": max(accel, 0.0), "DAS_accState": 4}

    @staticmethod
    def seal(frame_id: int, data: bytearray, sent: int) -> None:
        if frame_id == 0x488:
            data[2] = data[2] & 0xF0 | sent % 16
        else:
            data[6] = data[6] & 0x1F | sent % 8 << 5
        data[-1] = (frame_id + (frame_id >> 8) + sum(data[:-1])) & 0xFF

    def frames(self, car: Car, tick: int) -> Iterator[Frame]:
        kph = car.speed_seen * 3.6
        seen = {"ESP_vehicleSpeed": kph, "ESP_wheelSpeedsQF": 1,
                "ESP_vehicleStandstillSts": car.speed_seen == 0.0}  # fmt: skip
        yield self._pack("EPAS3S_sysStatus", 0, {"EPAS3S_internalSAS": car.angle_seen,
                                                 "EPAS3S_eacStatus": 1})  # fmt: skip
        yield self._pack("DI_speed", 0, {"DI_vehicleSpeed": kph})
        yield self._pack("ESP_B", 0, seen)
        yield self._pack("DI_systemStatus", 0, {"DI_accelPedalPos": 20.0 * car.gas})
        yield self._pack("ESP_status", 0, {"ESP_driverBrakeApply": 1 + car.brake})
        yield self._pack("DI_state", 0, {"DI_cruiseState": 2 * car.cruise})
        yield self._pack("DAS_steeringControl", 2, {})  # of the car's own computer: idle
        if tick % 2 == 0:
            yield self._pack("DAS_control", 2, {})
        if tick % 5 == 0:
            yield self._pack("UI_warning", 0, {})


BRANDS: dict[str, type[Nissan] | type[Tesla]] = {"nissan": Nissan, "tesla": Tesla}
