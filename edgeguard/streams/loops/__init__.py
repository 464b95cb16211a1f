# SPDX-License-Identifier: Apache-2.0
"""Closed driving loops: a vehicle that can leave the road, and what drives it.

vehicle.py   what a loop needs of a vehicle
racing.py    CarRacing-v3 (gymnasium) as such a vehicle; extra `drive`
sensors.py   odometry and heading as a vehicle measures them: noise, bias, delay
pursuit.py   the rule: pure pursuit on a map of the centre line, speed by curvature
"""
