# SPDX-License-Identifier: Apache-2.0
"""Fault injection into the link and the microcontroller: faults, judge, bookkeeping.

drive.py    host, firmware's twin and vehicle on one clock, and the wire between them
judge.py    which actuator commands are safe, from what a good host sent and what arrived
case.py     one injection: what it does, what must follow, what was found
faults_*.py the faults by id
store.py    results that survive an interruption, and what they add up to
run.py      many cases, in several processes
"""
