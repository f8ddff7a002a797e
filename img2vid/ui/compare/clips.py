"""Clips of a comparison side by side: finished ones play in step, the others show their progress."""

from collections.abc import Sequence

import streamlit as st

from img2vid.gallery.contact_sheet import ContactSheet
from img2vid.gallery.entries import Entry
from img2vid.gallery.studies import CellStatus, Study
from img2vid.jobs.job import State
from img2vid.ui import formatting
from img2vid.ui.compare import state
from img2vid.ui.compare.state import PAGE, Comparison
from img2vid.ui.shared import measured
from img2vid.ui.state import PageState, details_box, report_drawing_errors
from img2vid.ui.studies import clips
from img2vid.ui.studies.differences import badges, facts

ENDED = {State.CANCELLED: st.info, State.FAILED: st.error}
"""Elements for columns without a video; by default a warning."""


def clips_box(page: PageState, comparison: Comparison, sheet: ContactSheet) -> None:
    """Draw the clips, the player, the downloads and the measurements."""
    with st.container(key="compare_going"):
        clips.progress_box(page, sheet)
    with st.container(key="compare_clips"):
        for index, column in enumerate(st.columns(len(sheet.cells), gap="small")):
            with column, st.container(key=f"clip_{index}"), report_drawing_errors(f"Column {index + 1}"):
                _clip(sheet, index)
    if sheet.made:
        clips.player_box(sheet, comparison.align, difference=True)
        clips.downloads_box(sheet, comparison.align)
        clips.measured_box(sheet, _plots)


def _clip(sheet: ContactSheet, index: int) -> None:
    study, one, label = sheet.study, sheet.cells[index], sheet.names[index]
    with st.container(gap="xxsmall"):
        st.markdown(f"**{formatting.plain(label)}**")
        st.caption(f"{formatting.dimensions(one.cell.settings)} · seed {one.cell.settings.seed}")
    with st.container(key=f"clip_body_{index}"):
        if one.entry is not None:
            # No autoplay: the player starts the clips, and Streamlit autoplays only one of two identical videos.
            st.video(one.entry.result.video, muted=True, alt=label)
            if one.job is not None and one.job.notice:
                st.info(formatting.message(one.job.notice))
        elif one.job is not None and one.is_active:
            clips.job_box(one.job)
        else:
            _ended(study, index, one)
    with st.container(key=f"clip_about_{index}", gap="xsmall"):
        first = study.cells[0]
        if text := badges(facts(first.settings, first.options), facts(one.cell.settings, one.cell.options)):
            st.markdown(text)
        if one.entry is not None:
            prefix = "Reused: " if one.cell.reused else ""
            st.caption(f"{prefix}{formatting.plain(one.entry.result.video.name)}")


def _ended(study: Study, index: int, one: CellStatus) -> None:
    """Draw a column whose job ended without a video."""
    draw = st.warning if one.job is None else ENDED.get(one.job.state, st.warning)
    draw(clips.ended_text(one.job))
    clips.again_button(study, "Run again", f"compare_again_{index}")
    details_box("" if one.job is None else one.job.details)


def _plots(page: PageState, labels: Sequence[str], entries: Sequence[Entry]) -> None:
    axis = state.comparison(page).axis
    measured.plots(labels, entries, key="compare_plots", axis=axis, on_axis=_axis)


def _axis(page: PageState, axis: measured.Axis) -> None:
    page.keep(PAGE, axis=axis)
