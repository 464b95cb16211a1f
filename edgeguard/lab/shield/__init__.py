# SPDX-License-Identifier: Apache-2.0
"""The guard as a shield while a policy learns to drive, and against one that earns its reward off
the road: safe exploration and reward hacking of Amodei et al. 2016, "Concrete problems in AI
safety".

road.py      CarRacing as a gymnasium environment of a few numbers, without pictures
learn.py     augmented random search on a linear policy
run.py       both experiments, their figures
guard.toml   the shield
"""
