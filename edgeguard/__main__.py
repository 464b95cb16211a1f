# SPDX-License-Identifier: Apache-2.0
"""``python -m edgeguard``: the command line."""

from edgeguard.cli.main import main

if __name__ == "__main__":
    main()
