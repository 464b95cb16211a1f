# SPDX-License-Identifier: Apache-2.0
"""Verification of the int8 file that runs: sound bounds, exact leftovers, certified training.

Read ``net`` (what the file computes), ``quantizer`` (its one non-linear function), ``interval`` and
``crown`` (bounds), ``exact`` (leftovers by mixed-integer programming), ``verify`` (all together).
"""
