# SPDX-License-Identifier: Apache-2.0
"""The firmware's sources, and what is done with its image after linking."""
