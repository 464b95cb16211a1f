# SPDX-License-Identifier: Apache-2.0
"""The steering networks of the driving loop: what they learn from, and how they are made."""
