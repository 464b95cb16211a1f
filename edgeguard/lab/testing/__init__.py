# SPDX-License-Identifier: Apache-2.0
"""Testing models before they are deployed."""
