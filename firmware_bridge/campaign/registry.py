# SPDX-License-Identifier: Apache-2.0
"""All faults of the twin, by id."""

from __future__ import annotations

from firmware_bridge.campaign import faults_host, faults_link, faults_time
from firmware_bridge.campaign.case import Fault

FAULTS: tuple[Fault, ...] = tuple(
    sorted(
        (*faults_link.FAULTS, *faults_host.FAULTS, *faults_time.FAULTS), key=lambda fault: fault.id
    )
)
