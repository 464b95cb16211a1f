# SPDX-License-Identifier: Apache-2.0
"""Owner of every link between the host and a microcontroller.

Empty until the link ships: the host's ``Decision`` goes to a sink of ``edgeguard.output`` so far.
"""
