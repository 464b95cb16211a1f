# SPDX-License-Identifier: Apache-2.0
"""The preprocessing kernel's definitions once more, in float64 matrices and plain numpy."""

from __future__ import annotations

import numpy as np

from edgeguard.intake.preprocess import InputSpec


def neighbours(source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left and right neighbour of each target position, and the weight of the right one."""
    at = (np.arange(target) + 0.5) * source / target - 0.5
    first = np.clip(np.floor(at + 1e-9), 0, source - 1).astype(int)
    weight = np.where((at < 0) | (first >= source - 1), 0.0, at - first)
    return first, np.minimum(first + 1, source - 1), weight


def bilinear(source: int, target: int) -> np.ndarray:
    first, second, weight = neighbours(source, target)
    matrix = np.zeros((target, source))
    rows = np.arange(target)
    np.add.at(matrix, (rows, first), 1 - weight)
    np.add.at(matrix, (rows, second), weight)
    return matrix


def box_filter(source: int, target: int) -> np.ndarray:
    edges = np.arange(target + 1) * source / target
    pixels = np.arange(source)
    low = np.maximum(edges[:-1, None], pixels[None])
    high = np.minimum(edges[1:, None], pixels[None] + 1)
    return np.maximum(high - low, 0) * target / source


def resize(image: np.ndarray, height: int, width: int, how: str) -> np.ndarray:
    """image [h, w, c] to [height, width, c]; area enlarges with bilinear, axis by axis."""

    def matrix(source: int, target: int) -> np.ndarray:
        shrinks = how == "area" and source >= target
        return box_filter(source, target) if shrinks else bilinear(source, target)

    rows, columns = matrix(image.shape[0], height), matrix(image.shape[1], width)
    return np.einsum("yh,hwc,xw->yxc", rows, image.astype(np.float64), columns, optimize=True)


def to_rgb(frame: np.ndarray, frame_format: str) -> np.ndarray:
    """Any camera format as float RGB [h, w, 3]; YUV as BT.601, limited range, rounded."""
    if frame_format == "RGB":
        return frame
    if frame_format in ("BGR", "BGRA"):
        return frame[:, :, 2::-1]
    if frame_format == "GRAY":
        return np.repeat(frame[:, :, None], 3, axis=2)
    if frame_format == "YUYV":
        y = frame[:, :, 0]
        u, v = (np.repeat(frame[:, k::2, 1], 2, axis=1) for k in (0, 1))
    else:
        height = frame.shape[0] * 2 // 3
        y, chroma = frame[:height], frame[height:].repeat(2, axis=0)
        u, v = (np.repeat(chroma[:, k::2], 2, axis=1) for k in (0, 1))
    y, u, v = (y.astype(float) - 16) * 255 / 219, u.astype(float) - 128, v.astype(float) - 128
    y = np.maximum(y, 0)
    red, blue = y + 1.596027 * v, y + 2.017232 * u
    return np.rint(np.clip(np.stack([red, y - 0.391762 * u - 0.812968 * v, blue], -1), 0, 255))


def letterboxed(box: tuple[int, int], spec: InputSpec) -> tuple[int, int]:
    """Height and width of the content for a box (height, width)."""
    height, width = box
    if width * spec.height >= height * spec.width:
        return max(1, height * spec.width // width), spec.width
    return spec.height, max(1, width * spec.height // height)


def centre_crop(image: np.ndarray, spec: InputSpec) -> np.ndarray:
    height, width = image.shape[:2]
    if width * spec.height > height * spec.width:
        keep = max(1, height * spec.width // spec.height)
        left = (width - keep) // 2
        return image[:, left : left + keep]
    keep = max(1, width * spec.height // spec.width)
    top = (height - keep) // 2
    return image[top : top + keep]


def greys(rgb: np.ndarray, spec: InputSpec) -> np.ndarray:
    """The tensor in grey levels [height, width, channels], before normalisation."""
    if spec.colour == "BGR":
        rgb = rgb[:, :, ::-1]
    elif spec.colour == "GRAY":
        rgb = np.rint(rgb @ [0.299, 0.587, 0.114])[:, :, None]
    if spec.fit == "crop":
        rgb = centre_crop(rgb, spec)
    if spec.fit != "letterbox":
        return resize(rgb, spec.height, spec.width, spec.resize)
    height, width = letterboxed(rgb.shape[:2], spec)
    top, left = (spec.height - height) // 2, (spec.width - width) // 2
    out = np.full((spec.height, spec.width, rgb.shape[2]), float(spec.pad))
    out[top : top + height, left : left + width] = resize(rgb, height, width, spec.resize)
    return out


def tensor(grey: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Grey levels as the tensor's values, float64, before rounding and saturating."""
    real = (grey / 255 - np.array(spec.mean[: spec.channels])) / np.array(spec.std[: spec.channels])
    if spec.dtype != "float32":
        real = real / spec.scale + spec.zero_point
    return np.moveaxis(real, 2, 0) if spec.layout == "CHW" else real


def health_of(left: np.ndarray, right: np.ndarray, alone: np.ndarray) -> dict[str, int]:
    """Sums over horizontal neighbours (left[i], right[i]) and single pixels, each RGB [n, 3]."""

    def luma(p: np.ndarray) -> np.ndarray:
        return (p.astype(int) @ [38, 75, 15]) >> 7

    pixels = np.concatenate([left, right, alone]).astype(int)
    y = luma(pixels)
    return {
        "pixels": len(pixels),
        "pairs": len(left),
        "luma_sum": int(y.sum()),
        "luma_squared_sum": int((y * y).sum()),
        "gradient_sum": int(np.abs(luma(left) - luma(right)).sum()),
        "black_count": int((y <= 16).sum()),
        "saturated_count": int((pixels >= 250).any(axis=1).sum()),
    }


def health_bilinear(rgb: np.ndarray, height: int, width: int) -> dict[str, int]:
    top, bottom, _ = neighbours(rgb.shape[0], height)
    first, second, _ = neighbours(rgb.shape[1], width)
    rows = np.concatenate([top, bottom])
    left, right = (rgb[rows][:, columns].reshape(-1, 3) for columns in (first, second))
    return health_of(left, right, rgb[:0, 0])


def health_area(rgb: np.ndarray) -> dict[str, int]:
    even = rgb[:, : rgb.shape[1] // 2 * 2]
    alone = rgb[:, even.shape[1] :].reshape(-1, 3)
    return health_of(even[:, ::2].reshape(-1, 3), even[:, 1::2].reshape(-1, 3), alone)
