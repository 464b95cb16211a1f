# SPDX-License-Identifier: Apache-2.0
"""All host faults, by id."""

from __future__ import annotations

from edgeguard.streams.campaign import (
    faults_files,
    faults_inputs,
    faults_parsers,
    faults_recorder,
    faults_rules,
    faults_scores,
    faults_workers,
)
from edgeguard.streams.campaign.fault import Fault

_KINDS = (
    faults_files, faults_inputs, faults_parsers, faults_recorder, faults_rules, faults_scores,
    faults_workers,
)  # fmt: skip
FAULTS: tuple[Fault, ...] = tuple(
    sorted((fault for kind in _KINDS for fault in kind.FAULTS), key=lambda fault: fault.id)
)
