# SPDX-License-Identifier: Apache-2.0
"""A signed bundle: policy, models, cards, thresholds and results in one file that is trusted whole.

file.py     the container: what is where, and that no byte of it is unaccounted for
trust.py    public keys that somebody put on this machine, and what each may vouch for
state.py    the newest version that ran here: an older one is refused
opened.py   a bundle that was verified, laid out for the guard
"""

from edgeguard.bundle.file import SUFFIX, Manifest, Part, read, write
from edgeguard.bundle.opened import Opened, open_bundle
from edgeguard.bundle.trust import Key, Trust

__all__ = ["SUFFIX", "Key", "Manifest", "Opened", "Part", "Trust", "open_bundle", "read", "write"]
