# SPDX-License-Identifier: Apache-2.0
"""Host faults, injected into a whole guard, and a judge for every command that leaves it.

fault.py           a row of the catalogue
puppets.py         the guard under test, its members replaced by puppets that say what a fault wants
judge.py           which commands are safe, from what is true and nothing else
case.py            one injection: world, fault, what must follow, what was found
road.py            what the cameras see where real models look
live.py            one injection into a guard with real models in real processes
strange.py         the program of a worker that turns on the guard when it is told to
mutations.py       files that were made to break their parsers
faults_workers.py  what happens to processes of members, and what they do: F01, F02, F29
faults_recorder.py recorder, disk and log: F25
faults_parsers.py  spoilt pictures and models: F28
faults_scores.py   what members say, or do not: F03, F05, F06, F07
faults_inputs.py   frames, signals, stamps: F04, F06, F15, F16, F20
faults_rules.py    many at once, flapping, no command, lost rules: F21, F22, F23, F27
faults_files.py    files that are not what they should be: F08, F26
registry.py        all of them, by id
run.py             many cases, in several processes
outlive.py         a process for them that may die
"""
