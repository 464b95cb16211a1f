# SPDX-License-Identifier: Apache-2.0
"""Closed driving loops: a vehicle that can leave the road, what drives it, and what goes wrong.

vehicle.py   what a loop needs of a vehicle
racing.py    CarRacing-v3 (gymnasium) as such a vehicle, drawn by drawing.py; extra `drive`
sensors.py   odometry and heading as a vehicle measures them, and the filter over them
pursuit.py   the rule: pure pursuit on a map of the centre line, speed by curvature
stopping.py  and by where a stop without a map would end
steers.py    who turns frames into commands: bare members, a guard; behind.py: a microcontroller
drive.py     one drive, judged by the truth
follower.py  the car behind it
fault.py     what may be done to it: faults.py to frames, members.py to answers, patch.py
matrix.py    every fault, with and without the guard; report.py adds up
takeover.py  how long a command may be wrong
clean.py     clean drives, and the limits that follow
kept.py      what is kept of drives, under which name
picture.py   a moving picture of three attacks
tracks.py    which seeds are for what
"""
