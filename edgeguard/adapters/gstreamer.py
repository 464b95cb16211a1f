# SPDX-License-Identifier: Apache-2.0
"""Frames out of a GStreamer pipeline, through an appsink: a CSI camera of a Jetson, an RTSP stream.

The system's GStreamer (1.10 or newer) is called directly, so any Python will do; OpenCV's wheels
come without it. It runs in this process: a decoder that crashes takes it along.
"""

from __future__ import annotations

import ctypes as c
import ctypes.util
import time
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from edgeguard.errors import EdgeguardError
from edgeguard.intake.sources import Frame

PLAYING, NULL = 4, 1  # GstState
ERROR = 2  # GstMessageType
READ = 1  # GstMapFlags
TIME = 3  # GstFormat
NO_TIME = 2**64 - 1  # GST_CLOCK_TIME_NONE
LOOK_NS = 100_000_000  # so often errors are looked for while nothing comes


class _Layout(NamedTuple):
    name: str  # GStreamer's
    depth: int  # bytes of a pixel in its row
    halves: int  # rows of bytes for two rows of pixels


LAYOUTS = {
    "BGR": _Layout("BGR", 3, 2), "RGB": _Layout("RGB", 3, 2), "BGRA": _Layout("BGRA", 4, 2),
    "GRAY": _Layout("GRAY8", 1, 2), "YUYV": _Layout("YUY2", 2, 2), "NV12": _Layout("NV12", 1, 3),
}  # fmt: skip


class _MapInfo(c.Structure):
    _fields_ = (
        ("memory", c.c_void_p), ("flags", c.c_int), ("data", c.c_void_p), ("size", c.c_size_t),
        ("maxsize", c.c_size_t), ("user_data", c.c_void_p * 4), ("reserved", c.c_void_p * 4),
    )  # fmt: skip


class _Buffer(c.Structure):
    """GstBuffer as far as its presentation time: a GstMiniObject, its pool, the time."""

    _fields_ = (
        ("type", c.c_size_t), ("refcount", c.c_int), ("lockstate", c.c_int), ("flags", c.c_uint),
        ("copy", c.c_void_p), ("dispose", c.c_void_p), ("free", c.c_void_p),
        ("priv_uint", c.c_uint), ("priv_pointer", c.c_void_p), ("pool", c.c_void_p),
        ("pts", c.c_uint64),
    )  # fmt: skip


class _Error(c.Structure):
    _fields_ = (("domain", c.c_uint32), ("code", c.c_int), ("message", c.c_char_p))


def frames(pipeline: str, pixels: str = "BGR") -> Iterator[Frame]:
    """Frames of a pipeline as `gst-launch-1.0` takes it, which ends where its raw video comes out.

    pixels: the format of [camera.NAME]: BGR, RGB, BGRA, GRAY, YUYV or NV12. Only the newest frame
    waits to be fetched. A frame's stamp is when it was captured, where the pipeline says so, else
    when it arrived, on CLOCK_MONOTONIC. Blocks for frames; ends with the stream. Raises
    EdgeguardError when there is no GStreamer, the pipeline is none, or fails.
    """
    if pixels not in LAYOUTS:
        raise EdgeguardError(f"gstreamer: pixels {pixels}: want one of {', '.join(LAYOUTS)}")
    gst, app = _libraries()
    layout = LAYOUTS[pixels]
    caps = f"capsfilter caps=video/x-raw,format={layout.name}"  # may follow other caps
    end = "appsink name=edgeguard max-buffers=1 drop=true sync=false"
    element = _parsed(gst, f"{pipeline} ! {caps} ! {end}")
    sink = gst.gst_bin_get_by_name(element, b"edgeguard")
    bus = gst.gst_element_get_bus(element)
    clock = gst.gst_system_clock_obtain()  # CLOCK_MONOTONIC, whichever one an element offers
    gst.gst_pipeline_use_clock(element, clock)
    try:
        gst.gst_element_set_state(element, PLAYING)
        while True:
            sample = app.gst_app_sink_try_pull_sample(sink, LOOK_NS)
            if sample:
                yield _frame(gst, element, sample, layout)
            else:
                _check(gst, bus, pipeline)
                if app.gst_app_sink_is_eos(sink):
                    return
    finally:
        gst.gst_element_set_state(element, NULL)
        for one in (clock, bus, sink, element):
            gst.gst_object_unref(one)


@cache
def _libraries() -> tuple[Any, Any]:
    """libgstreamer and libgstapp, told what their functions take."""
    try:
        gst, app = (
            c.CDLL(c.util.find_library(name) or f"lib{name}.so.0")
            for name in ("gstreamer-1.0", "gstapp-1.0")
        )
    except OSError as error:
        raise EdgeguardError(
            f"gstreamer: {error}; apt-get install libgstreamer-plugins-base1.0-0"
        ) from None
    pointer = c.c_void_p
    functions: tuple[tuple[Any, ...], ...] = (
        (gst.gst_init_check, c.c_int, pointer, pointer, pointer),
        (gst.gst_parse_launch, pointer, c.c_char_p, c.POINTER(c.POINTER(_Error))),
        (gst.gst_bin_get_by_name, pointer, pointer, c.c_char_p),
        (gst.gst_element_get_bus, pointer, pointer),
        (gst.gst_element_get_base_time, c.c_uint64, pointer),
        (gst.gst_element_set_state, c.c_int, pointer, c.c_int),
        (gst.gst_system_clock_obtain, pointer),
        (gst.gst_pipeline_use_clock, None, pointer, pointer),
        (gst.gst_bus_pop_filtered, pointer, pointer, c.c_int),
        (gst.gst_message_parse_error, None, pointer, c.POINTER(c.POINTER(_Error)), pointer),
        (gst.gst_sample_get_buffer, pointer, pointer),
        (gst.gst_sample_get_caps, pointer, pointer),
        (gst.gst_sample_get_segment, pointer, pointer),
        (gst.gst_segment_to_running_time, c.c_uint64, pointer, c.c_int, c.c_uint64),
        (gst.gst_caps_get_structure, pointer, pointer, c.c_uint),
        (gst.gst_structure_get_int, c.c_int, pointer, c.c_char_p, c.POINTER(c.c_int)),
        (gst.gst_buffer_map, c.c_int, pointer, c.POINTER(_MapInfo), c.c_int),
        (gst.gst_buffer_unmap, None, pointer, c.POINTER(_MapInfo)),
        (gst.gst_mini_object_unref, None, pointer),
        (gst.gst_object_unref, None, pointer),
        (app.gst_app_sink_try_pull_sample, pointer, pointer, c.c_uint64),
        (app.gst_app_sink_is_eos, c.c_int, pointer),
    )
    for function, result, *arguments in functions:
        function.restype, function.argtypes = result, arguments
    gst.gst_init_check(None, None, None)
    return gst, app


def _parsed(gst: Any, text: str) -> Any:
    error = c.POINTER(_Error)()
    element = gst.gst_parse_launch(text.encode(), c.byref(error))
    if error or not element:
        raise EdgeguardError(f"gstreamer: {text}: {_said(error)}")
    return element


def _check(gst: Any, bus: Any, pipeline: str) -> None:
    """Raise what an element complained of, if one did."""
    message = gst.gst_bus_pop_filtered(bus, ERROR)
    if not message:
        return
    error = c.POINTER(_Error)()
    gst.gst_message_parse_error(message, c.byref(error), None)
    gst.gst_mini_object_unref(message)
    raise EdgeguardError(f"gstreamer: {pipeline}: {_said(error)}")


def _said(error: Any) -> str:
    return error.contents.message.decode(errors="replace") if error else "is no pipeline"


def _frame(gst: Any, element: Any, sample: Any, layout: _Layout) -> Frame:
    """Copy the picture out of a sample and let it go."""
    try:
        now_ns = time.monotonic_ns()
        buffer = gst.gst_sample_get_buffer(sample)
        image = _pixels(gst, buffer, *_size(gst, sample), layout)
        running_ns = _running_ns(gst, sample, buffer)
        captured_ns = now_ns
        if running_ns is not None:  # a file is ahead of the clock
            captured_ns = min(now_ns, gst.gst_element_get_base_time(element) + running_ns)
        return Frame(image, captured_ns, None, {})
    finally:
        gst.gst_mini_object_unref(sample)


def _running_ns(gst: Any, sample: Any, buffer: Any) -> int | None:
    """When the frame was captured, since the pipeline runs. What a buffer is stamped with counts
    within its segment, which may begin anywhere and anew."""
    shown_ns = c.cast(buffer, c.POINTER(_Buffer)).contents.pts
    segment = gst.gst_sample_get_segment(sample)
    if shown_ns == NO_TIME or not segment:
        return None
    running_ns = gst.gst_segment_to_running_time(segment, TIME, shown_ns)
    return None if running_ns == NO_TIME else int(running_ns)


def _size(gst: Any, sample: Any) -> tuple[int, int]:
    structure = gst.gst_caps_get_structure(gst.gst_sample_get_caps(sample), 0)
    width, height = c.c_int(), c.c_int()
    gst.gst_structure_get_int(structure, b"width", c.byref(width))
    gst.gst_structure_get_int(structure, b"height", c.byref(height))
    return width.value, height.value


def _pixels(
    gst: Any, buffer: Any, width: int, height: int, layout: _Layout
) -> npt.NDArray[np.uint8]:
    """uint8 [rows, width, depth], or [rows, width] for a depth of one. In memory rows are padded to
    four bytes."""
    used, rows = width * layout.depth, height * layout.halves // 2
    row = (used + 3) // 4 * 4
    mapped = _MapInfo()
    if not gst.gst_buffer_map(buffer, c.byref(mapped), READ):
        raise EdgeguardError("gstreamer: a frame's memory cannot be read")
    try:
        if mapped.size != row * rows:
            even = " with an even height" if layout.halves != 2 and height % 2 else ""
            raise EdgeguardError(
                f"gstreamer: {mapped.size} bytes are no {layout.name} of {width}x{height}; put"
                f" videoconvert at the end of the pipeline, or a size{even} behind videoscale"
            )
        data = np.frombuffer(c.string_at(mapped.data, mapped.size), np.uint8)
    finally:
        gst.gst_buffer_unmap(buffer, c.byref(mapped))
    image = np.ascontiguousarray(data.reshape(rows, row)[:, :used])
    return image if layout.depth == 1 else image.reshape(rows, width, layout.depth)
