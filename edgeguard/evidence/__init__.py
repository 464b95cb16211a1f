# SPDX-License-Identifier: Apache-2.0
"""What a member's scores say about themselves, and how far to trust that.

The evidence of one inference (certainty, margin, entropy, energy, sanity) is computed by
``native/kernels/evidence.cpp`` inside the deciding call; here is what is fitted offline, on
calibration tracks: temperature, conformal detector limits, certainty thresholds.
"""
