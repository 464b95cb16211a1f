# SPDX-License-Identifier: Apache-2.0
"""Attacks on the model that is really deployed: one algorithm a file.

Images are float32 [N, C, H, W] in [0, 1]; radii are in the same unit (8 / 255 is eight grey
levels). An attack is a value: called with a victim, images and labels it returns images. What
counts is what `judge` makes of them: rounded to 8 bits inside the threat, and read by the deployed
file on its own runtime.
"""
