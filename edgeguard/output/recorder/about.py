# SPDX-License-Identifier: Apache-2.0
"""What a log says of itself: with which policy, models and version it was made."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

from edgeguard import __version__
from edgeguard.card import Card
from edgeguard.config import GuardConfig, policy_dict


def about(
    config: GuardConfig, cards: Mapping[str, Card], risk: Mapping[str, Any] | None = None
) -> dict[str, str]:
    """For `Recorder`: all of it text, JSON where it has parts. risk: `edgeguard.alarm.limits`."""
    models = {name: {"file": card.file, "sha256": card.sha256} for name, card in cards.items()}
    more = {"risk": json.dumps(risk)} if risk is not None else {}
    if config.bundle is not None:
        manifest = config.bundle.manifest
        said = {"name": manifest.name, "version": manifest.version, "key": manifest.key}
        more["bundle"] = json.dumps(said | {"signed": config.bundle.signed})
    return {
        "version": __version__,
        "began": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "guard.toml": config.content.decode(),
        "guard.toml.sha256": hashlib.sha256(config.content).hexdigest(),
        "policy": json.dumps(policy_dict(config, cards), separators=(",", ":")),
        "units": json.dumps({name: channel.unit for name, channel in config.channels.items()}),
        "models": json.dumps(models),
        **more,
    }
