# SPDX-License-Identifier: Apache-2.0
"""Other people's interfaces: thin, each for itself, and nothing in the runtime imports them.

card.py         the card of something that says a number and runs elsewhere
gymnasium.py    a wrapper: the guard decides which action goes into the environment
can.py          commands as frames of a DBC file
mavlink.py      setpoints for PX4 and ArduPilot, one for each decision
donkeycar.py    parts for a donkeycar's loop
gstreamer.py    frames out of any GStreamer pipeline
handover.py     a person is asked to drive, and the vehicle stops when they do not come
picamera2.py    frames of a Raspberry Pi's camera
"""
