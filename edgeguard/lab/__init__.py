# SPDX-License-Identifier: Apache-2.0
"""The lab: attacks, defences and the making of models, offline, on a desktop.

The lab may import the runtime; the runtime never imports the lab. Everything here may
use torch and other heavy libraries, none of which the runtime needs.
"""
