"""One video of the gallery with its actions, settings, measurements and log."""

import time
from collections.abc import Mapping
from typing import Any

import streamlit as st

from img2vid.errors import BadInput, shown
from img2vid.gallery.entries import MOST_STARS, Entries, Entry
from img2vid.gallery.trash import Trash
from img2vid.jobs.job import Job
from img2vid.settings import SampleSettings, label_of, value_text
from img2vid.ui import formatting, navigation, resources
from img2vid.ui.compare import state as compare_state
from img2vid.ui.gallery import grid, state
from img2vid.ui.sample.result import downloads
from img2vid.ui.shared import extended, measuring
from img2vid.ui.shared.media import autoplaying_video
from img2vid.ui.shared.open_folder import file_buttons
from img2vid.ui.state import Note, PageState, callback, poll, report_drawing_errors, set_widget, widget_value
from img2vid.ui.tabs import Picture
from img2vid.versions import ModelVersion

POLL_INTERVAL = 1.0
"""Seconds between checks for the measurements."""
FIRST = ("version", "seed")
"""Settings that are always listed."""


def entry_box(page: PageState, entries: Entries, entry: Entry) -> None:
    """Draw the video with its rating, actions, settings, log and measurements."""
    with st.container(key="entry_turn"):
        _turn(page, entries, entry)
    left, right = st.columns([11, 9], gap="medium")
    with left, st.container(key="entry_video"), report_drawing_errors("The video"):
        _video(entry)
    with right:
        with st.container(key="entry_said"), report_drawing_errors("The rating, tags and note"):
            _annotations(entries, entry)
        with st.container(key="entry_next"), report_drawing_errors("The actions"):
            _next_steps(entry)
        with st.container(key="entry_settings"), report_drawing_errors("The settings"):
            _settings(page, entry)
        with st.container(key="entry_log"), report_drawing_errors("The log"):
            _log(entry.job)
    with st.container(key="entry_extended"), report_drawing_errors("The extended clip"):
        extended.joined_box(entry, "gallery", _open_part)
    with st.container(key="entry_measured"), report_drawing_errors("The measurements"):
        _measurements(entry)


def _turn(page: PageState, entries: Entries, entry: Entry) -> None:
    now = state.read(page)
    wanted = now.filter()
    at, count = entries.place(wanted, entry, now.order), entries.count(wanted)
    before, after = grid.step_labels(now.order)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button("All videos", key="close_entry", icon=":material/grid_view:", on_click=_open, args=(0, at))
        for key, label, icon, step in (("newer", before, "chevron_left", -1), ("older", after, "chevron_right", 1)):
            exists = 0 <= at + step < count
            beside = entries.find(wanted, 1, at + step, now.order) if exists else []
            st.button(
                label,
                key=f"{key}_entry",
                icon=f":material/{icon}:",
                type="tertiary",
                disabled=not beside,
                on_click=_open,
                args=(beside[0].number if beside else 0, at + step),
            )
        st.markdown(f"{min(at + 1, count)} of {count}", width="content")


def _video(entry: Entry) -> None:
    settings, video = entry.settings, entry.result.video
    if video.is_file():
        autoplaying_video(video, f"Video made from {entry.job.picture_name}")
    else:
        st.warning(f"{formatting.plain(str(video))} no longer exists. **Delete** removes it from the gallery.")
    facts = [
        formatting.plain(entry.job.picture_name),
        formatting.plain(settings.version),
        f"seed {settings.seed}",
        formatting.dimensions(settings),
        grid.made_on(entry.created),
    ]
    if entry.result.seconds:
        facts.append(f"made in {formatting.span(entry.result.seconds)}")
    if entry.result.memory:
        facts.append(f"{formatting.size(entry.result.memory)} of memory")
    st.caption(" · ".join(facts))
    st.code(str(video), language=None, wrap_lines=True)


def _annotations(entries: Entries, entry: Entry) -> None:
    number = entry.number
    rate, note, tag = f"rate_{number}", f"note_{number}", f"tags_{number}"
    stars = set_widget(rate, entry.rating - 1 if entry.rating else None)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.feedback("stars", key=rate, default=stars, on_change=_rate, args=(number,))
        st.caption(f"Your rating: {entry.rating} of {MOST_STARS}" if entry.rating else "Not rated", width="content")
    st.multiselect(
        "Tags",
        sorted({*entries.tags(), *entry.tags}, key=str.casefold),
        set_widget(tag, list(entry.tags)),
        key=tag,
        accept_new_options=True,
        placeholder="Type a tag and press Enter",
        on_change=_tag,
        args=(number,),
    )
    st.text_area("Note", set_widget(note, entry.note, ""), key=note, height=90, on_change=_annotate, args=(number,))


def _next_steps(entry: Entry) -> None:
    exists = entry.result.video.is_file()
    with st.container(horizontal=True, gap="xsmall"):
        if exists and entry.deleted is None:
            extended.extend_buttons(entry, "gallery")
        if exists:
            file_buttons(entry.result.video, "gallery")
        _button("Use these settings", "use_entry", ":material/tune:", _use, entry)
        _button("Send to Compare", "compare_entry", ":material/compare:", _compare, entry)
        if entry.deleted is None:
            _button("Delete", "delete_entry", ":material/delete:", _delete, entry)
        else:
            _button("Restore", "restore_entry", ":material/restore_from_trash:", _restore, entry)
    if exists:
        downloads(entry.job, entry.result, "entry_downloads")


def _button(label: str, key: str, icon: str, act: Any, entry: Entry) -> None:
    st.button(label, key=key, icon=icon, on_click=act, args=(entry.number,))


# Settings


def _settings(page: PageState, entry: Entry) -> None:
    usual = defaults(page.versions, entry.settings)
    values = entry.settings.model_dump(exclude={"num_samples"})
    other = [name for name in values if name in FIRST or values[name] != usual.get(name)]
    st.markdown("\n".join([*_HEAD, *(_row(name, values, usual) for name in other)]))
    rest = [name for name in values if name not in other]
    with st.expander(f"{len(rest)} settings at default values", key=f"defaults_{entry.number}"):
        st.markdown("\n".join([*_HEAD[:2], *(_row(name, values, usual) for name in rest)]))
    made_by = [f"{name} {entry.result.metadata[name]}" for name in _ENGINE if entry.result.metadata.get(name)]
    st.caption(formatting.plain(" · ".join(made_by)))


_HEAD = ("| Setting | Value | Default |", "|---|---|---|")
_ENGINE = ("program", "checkpoint", "provider", "device", "precision", "decoder_precision", "memory")


def defaults(versions: Mapping[str, ModelVersion], settings: SampleSettings) -> dict[str, Any]:
    """Return the default settings of the version, or the program's defaults if the version is unknown."""
    version = versions.get(settings.version)
    return SampleSettings().model_dump() if version is None else version.settings({}).model_dump()


def _row(name: str, values: Mapping[str, Any], usual: Mapping[str, Any]) -> str:
    same = values[name] == usual.get(name) or name in FIRST
    value = _facts(values[name]) if same else f"**{_facts(values[name])}**"
    return f"| {formatting.plain(label_of(name))} | {value} | {'' if same else _facts(usual.get(name))} |"


def _facts(value: object) -> str:
    return "same as fps" if value is None else formatting.plain(value_text(value))


# Measurements and log


def _measurements(entry: Entry) -> None:
    if not entry.result.video.is_file() and entry.measurement is None:
        return
    pending = entry.measurement is None and measuring.ask([entry])
    number = entry.number

    def unmeasured() -> bool:
        fresh = Entries(resources.open_service().store).entry(number)
        return fresh.measurement is None and measuring.ask([fresh])

    def draw() -> None:
        _measured(Entries(resources.open_service().store).entry(number), pending)

    poll("The measurements", draw, pending, unmeasured, POLL_INTERVAL if pending else None)


def _measured(entry: Entry, pending: bool) -> None:
    from img2vid.ui.shared import measured

    st.markdown("**Measurements**")
    if entry.measurement is None:
        st.caption("Measuring..." if pending else "This video cannot be measured.")
        return
    label = f"{entry.settings.version}, seed {entry.settings.seed}"
    measured.table([label], [entry])
    measured.plots([label], [entry])


def _log(job: Job) -> None:
    with st.expander("Job log", key=f"log_{job.id}"):
        lines = [
            f"job {job.id}: {job.state.value}{', imported' if job.imported else ''}",
            *(f"{what} {_moment(when)}" for what, when in _times(job)),
        ]
        if job.attempts > 1:
            lines.append(f"attempts: {job.attempts}")
        if job.worker:
            lines.append(f"worker {job.worker}")
        lines += [formatting.sentence(message) for message in (job.notice, job.error) if message]
        st.code("\n".join([*lines, *([job.details] if job.details else [])]), language=None, wrap_lines=True)


def _times(job: Job) -> list[tuple[str, float]]:
    times = (("created", job.created), ("started", job.started), ("ended", job.finished))
    return [(what, when) for what, when in times if when is not None]


def _moment(when: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(when))


# Callbacks


@callback("gallery")
def _open(page: PageState, number: int, at: int) -> None:
    state.change(page, open=number, page=at // state.PER_PAGE + 1)


@callback("gallery")
def _open_part(page: PageState, part: Entry) -> None:
    state.change(page, open=part.number)


@callback("gallery")
def _rate(_: PageState, number: int) -> None:
    given = widget_value(f"rate_{number}")
    Entries(resources.open_service().store).rate(number, 0 if given is None else given + 1)


@callback("gallery")
def _annotate(_: PageState, number: int) -> None:
    Entries(resources.open_service().store).annotate(number, widget_value(f"note_{number}") or "")


@callback("gallery")
def _tag(_: PageState, number: int) -> None:
    Entries(resources.open_service().store).tag(number, widget_value(f"tags_{number}") or ())


@callback("gallery")
def _delete(page: PageState, number: int) -> None:
    grid.delete(page, [number])


@callback("gallery")
def _restore(page: PageState, number: int) -> None:
    Trash(resources.open_service().store).restore([number])
    state.change(page, open=0, undo=[])
    page.note = Note("done", "1 video restored.", place="gallery")


@callback("gallery")
def _use(page: PageState, number: int) -> None:
    """Copy the video's settings and input to the Sample page, and request that page."""
    entry = _with_known_version(page, number)
    settings, name = entry.settings, entry.job.picture_name
    page.set(**settings.model_dump())
    page.set_picture(Picture(entry.job.picture.name, name))
    text = f"Restored settings and image from {name}, seed {settings.seed}."
    page.note = Note("done", text, place="input")
    navigation.request_page(page, "sample")


@callback("gallery")
def _compare(page: PageState, number: int) -> None:
    compare_state.send(page, _with_known_version(page, number))
    navigation.request_page(page, "compare")


def _with_known_version(page: PageState, number: int) -> Entry:
    entry = Entries(resources.open_service().store).entry(number)
    if entry.settings.version not in page.versions:
        raise BadInput(
            f"there is no model version {shown(repr(entry.settings.version))} here; add it or choose another video"
        )
    return entry
