# SPDX-License-Identifier: Apache-2.0
"""Defences, each made offline, measured statically and adaptively, with a card beside its figures.

A detector has a number and a limit (`detector`): `squeeze` (bits and medians), `distances`
(embedding), `boxes` (activation ranges), and `history` (the inputs before this one, integers,
without torch). A stage changes the picture before the members (`reconstruct`). `distill` trains a
member. `adaptive` makes of classifier and detector one target, so that every attack on a classifier
is an adaptive attack on both. `harness` says of a defence whether its figures can be believed.
"""
