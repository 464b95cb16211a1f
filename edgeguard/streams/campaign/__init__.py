# SPDX-License-Identifier: Apache-2.0
"""Host faults, injected into a whole guard, and a judge for every command that leaves it.

puppets.py         the guard under test, its members replaced by puppets that say what a fault wants
judge.py           which commands are safe, from what is true and nothing else
case.py            one injection: world, fault, what must follow, what was found
faults_scores.py   what members say, or do not: F03, F05, F06, F07
faults_inputs.py   frames, signals, stamps: F04, F06, F15, F16, F20
faults_rules.py    many at once, flapping, no command, lost rules: F21, F22, F23, F27
faults_files.py    files that are not what they should be: F08, F26
registry.py        all of them, by id
run.py             many cases, in several processes
"""
