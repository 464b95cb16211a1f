# SPDX-License-Identifier: Apache-2.0
"""opendbc's own safety hooks judge what the guard commands.

They are the code between openpilot and the actuators of real cars, compiled from the headers that
the package `opendbc` ships.

hooks.py    those headers, compiled
car.py      a car that drives about, and a network that says anything
brands.py   Nissan and Tesla: their frames
*.toml      the limits of a brand as a policy
drive.py    the loop: car, guard, CAN, judge
"""
