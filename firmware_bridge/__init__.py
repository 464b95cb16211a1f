# SPDX-License-Identifier: Apache-2.0
"""Owner of every link between the host and a microcontroller."""
