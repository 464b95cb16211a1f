# SPDX-License-Identifier: Apache-2.0
"""Frames in: cameras, sensor health, tensors for the members."""
