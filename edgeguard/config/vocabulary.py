# SPDX-License-Identifier: Apache-2.0
"""The words a guard.toml may use, in the order in which the decision core counts them."""

from __future__ import annotations

from math import inf
from typing import Final

CAUSES: Final = (
    "NOT_ARMED",
    "TIME_FAULT",
    "CONTROLLER_LOST",
    "STALE_MODEL",
    "LATE",
    "MEMBER_LOST",
    "SCORE_INSANE",
    "LOW_CERTAINTY",
    "DISAGREEMENT",
    "OPERATION_DENIED",
    "UNAUTHORIZED_SUGGESTION",
    "OUT_OF_DISTRIBUTION",
    "FROZEN_INPUT",
    "FRAME_LOST",
    "IMAGE_UNHEALTHY",
    "INPUT_INVALID",
    "ENVELOPE_CONFLICT",
    "OVERRUN",
    "LINK_LOST",
    "LINK_FAULTY",
    "ANSWER_WRONG",
    "PEER_STOPPED",
    "SELF_TEST",
    "ASSOCIATION_BROKEN",
    "BUS_INTRUSION",
    "RISK_RAISED",
    "RISK_HIGH",
    "RECORDER_LOST",
    "UNSIGNED_BUNDLE",
)
SEVERITIES: Final = ("NOMINAL", "DEGRADED", "FALLBACK", "SAFE_STOP")
CLEARS: Final = ("itself", "rearm", "never")
OPERATIONS: Final = ("raise", "lower")
CHANNEL_KINDS: Final = ("label", "value")
FORMATS: Final = ("BGR", "RGB", "BGRA", "GRAY", "YUYV", "NV12")

IMAGE_FEATURES: Final = ("mean", "contrast", "black_share", "saturated_share", "sharpness")
SCORE_FEATURES: Final = ("margin", "entropy", "energy", "certainty")
EMBEDDING_FEATURES: Final = ("mahalanobis", "relative_mahalanobis", "nearest", "vim")
BOXES: Final = "boxes"  # of an embedding too, computed beside the kernels
HISTORY_FEATURES: Final = ("changes", "echoes", "flips")
BUS_FEATURES: Final = ("rate", "unknown", "payload", "replay")
# Between which numbers a feature lies, where it has ends.
FEATURE_ENDS: Final = {
    "mean": (0.0, 255.0),
    "contrast": (0.0, 127.5),  # a standard deviation
    "sharpness": (0.0, 255.0),  # a mean step between neighbours
    "entropy": (0.0, inf),
    **dict.fromkeys(("black_share", "saturated_share", "margin", "certainty"), (0.0, 1.0)),
    **dict.fromkeys(("echoes", "flips"), (0.0, 512.0)),  # of the last 512 pictures
    **dict.fromkeys(("changes", "rate", "unknown", "replay"), (0.0, inf)),
}
RELATIONS: Final = ("difference", "sum", "product", "ratio", "rate")
OPERANDS: Final = ("signal", "channel", "member")  # of a relation; a channel's is its last command

# By kind of detector: what it measures, and the causes it may raise, the first unless it says so.
DETECTOR_FEATURES: Final = {
    "image": IMAGE_FEATURES,
    "score": SCORE_FEATURES,
    "embedding": (*EMBEDDING_FEATURES, BOXES),
    "history": HISTORY_FEATURES,
    "association": (),
    "bus": BUS_FEATURES,
    "risk": (),
}
DETECTOR_CAUSES: Final = {
    "image": ("IMAGE_UNHEALTHY", "OUT_OF_DISTRIBUTION"),
    "score": ("OUT_OF_DISTRIBUTION", "IMAGE_UNHEALTHY"),
    "embedding": ("OUT_OF_DISTRIBUTION",),
    "history": ("OUT_OF_DISTRIBUTION",),
    "association": ("ASSOCIATION_BROKEN",),
    "bus": ("BUS_INTRUSION",),
    "risk": ("RISK_RAISED",),
}

SPEED_UNITS: Final = ("m/s", "km/h", "mph", "rad/s", "deg/s", "1/s", "rpm")
UNITS: Final = (
    *SPEED_UNITS,
    "1", "%", "m", "mm", "rad", "deg", "m/s2", "rad/s2", "s", "Hz", "N", "Nm", "kg", "Pa", "bar",
    "V", "A", "W", "K", "degC",
)  # fmt: skip
DISCLOSURES: Final = ("label", "rounded", "full")
LINKS: Final = ("serial", "can-fd", "can")

# What the core's tables hold (native/core/include/edgeguard/types.h).
MOST: Final = {
    "member": 8,
    "camera": 4,
    "signal": 16,
    "channel": 4,
    "detector": 16,
}
MOST_ROWS: Final = 8
MOST_FRAMES: Final = 4
MOST_DELAY_PERIODS: Final = 255  # what an association remembers (native/core/association.hpp)
MOST_LABELS: Final = 65535
LEAST_SIDE: Final = 4  # pixels of a picture that a history can compare (evidence/history.py)
NO_SIGNAL: Final = 255
NO_CAMERA: Final = 255
MOST_NUMBER: Final = 32767.0  # what the border takes for a number, either way
HOLD: Final = -1
