"""Measurements of several videos: a table with a row per video, and plots along the clips."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

import streamlit as st

from img2vid.ui.state import PageState, callback, set_widget, widget_value

if TYPE_CHECKING:
    from img2vid.gallery.entries import Entry
    from img2vid.gallery.measurement import Measurement

Axis = Literal["seconds", "frames"]
AXES: tuple[Axis, ...] = ("seconds", "frames")


@dataclass(frozen=True)
class Quantity:
    """Table column; `value` returns its number, or None if it is unknown."""

    heading: str
    help_text: str
    value: Callable[["Entry"], float | None]
    form: str = "%.1f"


@dataclass(frozen=True)
class Course:
    """Plot of a measurement along a clip; `begin` is the frame number of the first value, counted from 1."""

    title: str
    unit: str
    help_text: str
    values: Callable[["Measurement"], Sequence[float]]
    begin: int = 1


def _of(get: Callable[["Measurement"], float | None], factor: float = 1.0) -> Callable[["Entry"], float | None]:
    """Return a getter for entries, whose measurement may be missing."""

    def value(entry: "Entry") -> float | None:
        number = None if entry.measurement is None else get(entry.measurement)
        return None if number is None else number * factor

    return value


QUANTITIES = (
    Quantity(
        "Time (s)",
        "Time to make the video on this machine, without loading the model. Lower is better.",
        lambda entry: entry.result.seconds or None,
    ),
    Quantity(
        "Memory (GB)",
        "Peak memory while the video was made, on the GPU if there is one. Lower is better.",
        lambda entry: entry.result.memory / 1e9 if entry.result.memory else None,
        "%.2f",
    ),
    Quantity(
        "Motion (px)",
        "Mean optical flow from each frame to the next, in pixels. Neither higher nor lower is better: 0 is a still "
        "image, and far more than expected may mean that the video loses coherence.",
        _of(lambda found: found.mean_motion),
        "%.2f",
    ),
    Quantity(
        "PSNR 1st (dB)",
        "Similarity of the first frame to the input, pixel by pixel. Higher is closer; above 30, differences are hard "
        "to see.",
        _of(lambda found: found.psnr),
    ),
    Quantity(
        "SSIM 1st",
        "Structural similarity of the first frame to the input; 1 is identical. Higher is closer.",
        _of(lambda found: found.ssim),
        "%.3f",
    ),
    Quantity(
        "Flicker (of 255)",
        "Uneven change of brightness from frame to frame; steady change counts as none. Lower is better, but "
        "motion adds to it.",
        _of(lambda found: found.mean_flicker),
        "%.2f",
    ),
    Quantity(
        "Sharpness",
        "Fine detail of the frames: the variance of the Laplacian. Higher is sharper, but noise counts too.",
        _of(lambda found: found.mean_sharpness),
        "%.0f",
    ),
    Quantity(
        "Sharpness drift (%)",
        "Trend of sharpness from the first frame to the last, relative to its mean. Near 0 is better: negative means "
        "blur, positive means added noise.",
        _of(lambda found: found.sharpness_drift, 100),
        "%+.0f",
    ),
    Quantity(
        "Contrast drift (%)",
        "Trend of contrast from the first frame to the last, relative to its mean. Near 0 is better: negative means "
        "fading, positive means harsher contrast.",
        _of(lambda found: found.contrast_drift, 100),
        "%+.0f",
    ),
)
COURSES = (
    Course("Motion", "pixels/frame", "Mean optical flow from each frame to the next.", lambda found: found.motion, 2),
    Course("Sharpness", "levels squared", "Fine detail of each frame.", lambda found: found.sharpness),
    Course("Contrast", "of 255", "Spread of each frame's brightness.", lambda found: found.contrast),
    Course("Flicker", "of 255", "Uneven change of brightness around each frame.", lambda found: found.flicker, 2),
)
_HEIGHT, _NAME_HEIGHT = 220, 22
"""Heights in pixels of a plot without its legend, and of a legend row."""
_SHORT = 26
"""Labels shorter than this fit two to a legend row."""


def table(labels: Sequence[str], entries: Sequence["Entry | None"]) -> None:
    """Draw a table with a row for each video that exists; unknown numbers are empty."""
    rows = [
        {"Video": label, **{quantity.heading: quantity.value(entry) for quantity in QUANTITIES}}
        for label, entry in zip(labels, entries, strict=True)
        if entry is not None
    ]
    # Streamlit's table types come from packages without type information.
    drawn = cast(Any, st)
    numbers = {one.heading: drawn.column_config.NumberColumn(help=one.help_text, format=one.form) for one in QUANTITIES}
    longest = max((len(label) for label in labels), default=0)
    named = {"Video": drawn.column_config.TextColumn(pinned=True, width=min(max(8 * longest, 60), 260))}
    drawn.dataframe(rows, hide_index=True, column_config=named | numbers, width="stretch")


def plots(
    labels: Sequence[str],
    entries: Sequence["Entry | None"],
    *,
    key: str = "plots",
    axis: Axis | None = None,
    on_axis: Callable[[PageState, Axis], None] | None = None,
) -> None:
    """Plot motion, sharpness, contrast and flicker along the clips, with a line for each measured video.

    axis: unit of the horizontal axis, if the page stores it; on_axis: callback for the user's choice.
    """
    widget = f"{key}_axis"
    if axis is not None:
        set_widget(widget, axis)
    chosen = st.segmented_control(
        "Horizontal axis", AXES, default=None if axis else AXES[0], required=True, key=widget, on_change=_chosen,
        args=(widget, on_axis),
    )  # fmt: skip
    shown: Axis = "frames" if chosen == "frames" else "seconds"
    left, right = st.columns(2, gap="medium")
    for index, course in enumerate(COURSES):
        with right if index % 2 else left:
            st.markdown(f"**{course.title}**", help=course.help_text)
            drawn = cast(Any, st)
            drawn.altair_chart(chart(course, labels, entries, shown), width="stretch", key=f"{key}_{course.title}")


@callback("compare")
def _chosen(page: PageState, widget: str, on_axis: Callable[[PageState, Axis], None] | None) -> None:
    axis = widget_value(widget)
    if on_axis is not None and axis in AXES:
        on_axis(page, axis)


def points(
    course: Course, labels: Sequence[str], entries: Sequence["Entry | None"], axis: Axis
) -> list[dict[str, str | float]]:
    """Return the data of a plot: a point for each value of each measured video."""
    found: list[dict[str, str | float]] = []
    for label, entry in zip(labels, entries, strict=True):
        if entry is None or entry.measurement is None:
            continue
        for index, value in enumerate(course.values(entry.measurement)):
            frame = index + course.begin
            second = (frame - 1) / entry.settings.file_fps
            found.append({"video": label, "at": second if axis == "seconds" else frame, "number": value})
    return found


def chart(course: Course, labels: Sequence[str], entries: Sequence["Entry | None"], axis: Axis) -> Any:
    """Return an Altair line chart with tooltips; a click on a legend entry highlights its line."""
    import altair  # slow to import

    alt = cast(Any, altair)
    abreast = 2 if max(map(len, labels), default=0) < _SHORT else 1
    named = alt.selection_point(fields=["video"], bind="legend")
    at = alt.X(
        "at:Q", title=axis if axis == "seconds" else "frame", axis=alt.Axis(tickMinStep=0.1 if axis == "seconds" else 1)
    )
    value = alt.Y("number:Q", title=course.unit, scale=alt.Scale(zero=False))
    color = alt.Color(
        "video:N",
        title=None,
        sort=[*labels],
        scale=alt.Scale(scheme="tableau10"),
        legend=alt.Legend(orient="bottom", labelLimit=0, columns=abreast),
    )
    tips = [
        alt.Tooltip("video:N"),
        alt.Tooltip("at:Q", title=axis, format=".4~g"),
        alt.Tooltip("number:Q", title=course.title.lower(), format=".4~g"),
    ]
    base = alt.Chart(alt.Data(values=points(course, labels, entries, axis)))
    lines = base.mark_line(point=alt.OverlayMarkDef(size=40)).encode(
        at, value, color, opacity=alt.condition(named, alt.value(1.0), alt.value(0.15)), tooltip=tips
    )
    return lines.add_params(named).properties(height=_HEIGHT + _NAME_HEIGHT * math.ceil(len(labels) / abreast))
