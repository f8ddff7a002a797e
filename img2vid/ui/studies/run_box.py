"""Run and Cancel with the estimate, and the menu of earlier studies."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from img2vid.errors import BadInput
from img2vid.gallery.contact_sheet import ContactSheet
from img2vid.gallery.studies import Kind, Outlook, Study, Wanted, active_jobs
from img2vid.gallery.sweep_axes import Axis
from img2vid.jobs.fingerprint import of_video
from img2vid.ui import formatting, resources
from img2vid.ui.shared import pictures
from img2vid.ui.state import PageState, after_entry, callback, poll, report_drawing_errors, show_note
from img2vid.ui.studies.study import PAGES, studies

POLL_INTERVAL = 2.0
LISTED = 8
"""Number of entries in the menu, newest first."""
Opened = Callable[[PageState, Study], None]


@dataclass(frozen=True)
class Plan:
    """Study that Run begins."""

    kind: Kind
    label: str
    """Label of Run."""
    wanted: Sequence[Wanted]
    problem: str
    """Sentence that says why Run is disabled, or empty."""
    outlook: Callable[[Outlook], str]
    """Returns the estimate as text."""
    about: Sequence[str] = ()
    """More captions, as Markdown."""


def run_box(
    page: PageState, plan: Plan, shown: ContactSheet | None, on_run: Callable[[], None], opened: Opened
) -> None:
    """Draw the buttons, the estimate or the problem, and the menu. opened: shows an earlier study on the page."""
    kind, own = plan.kind, PAGES[plan.kind]
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.button(
            plan.label,
            key=f"{kind}_start",
            type="primary",
            icon=own.icon,
            disabled=bool(plan.problem),
            on_click=after_entry(on_run),
        )
        st.button(
            own.cancel,
            key=f"{kind}_cancel",
            disabled=shown is None or not active_jobs(shown.cells),
            on_click=callback(own.area)(_cancel),
            args=("" if shown is None else shown.study.id,),
        )
    picture = page.tab.picture
    if plan.problem or picture is None:
        st.caption(formatting.with_code(plan.problem))
    else:
        _estimate(plan, picture.file)
    for text in plan.about:
        st.caption(text)
    show_note(page, own.area)
    if shown is not None and picture is not None and not plan.problem and _differs(plan, picture.file, shown.study):
        st.caption(":orange[:material/info:] These clips use older settings. Run to update.")
    with report_drawing_errors(own.earlier):
        _earlier(kind, "" if shown is None else shown.study.id, opened)


def _estimate(plan: Plan, picture: str) -> None:
    """Draw the estimate. Until it is known, poll it: a worker measures its device's speed after it has started."""

    def outlook() -> Outlook:
        return studies().outlook(plan.wanted, picture)

    def is_unknown(found: Outlook) -> bool:
        return bool(found.to_make) and found.seconds is None

    now = outlook()
    unknown = is_unknown(now)
    every = POLL_INTERVAL if unknown else None
    poll("The estimate", lambda: st.caption(plan.outlook(now)) and None, unknown, lambda: is_unknown(outlook()), every)


def begin(page: PageState, kind: Kind, wanted: Sequence[Wanted], axes: Sequence[Axis] = ()) -> Study:
    """Begin a study of the tab's input. Raise BadInput without an input."""
    picture, service = page.tab.picture, resources.open_service()
    if picture is None:
        raise BadInput("there is no input; add an image first")
    data, suffix = picture.path.read_bytes(), picture.path.suffix
    return studies().begin(service, kind, wanted, data, picture.name, suffix, page.tab.folder, axes)


def _differs(plan: Plan, picture: str, shown: Study) -> bool:
    """Return whether Run would make other videos than those of the shown study."""
    now = [of_video(*one, picture) for one in plan.wanted]
    return now != [of_video(cell.settings, cell.options, shown.picture.name) for cell in shown.cells]


def _earlier(kind: Kind, shown: str, opened: Opened) -> None:
    """Draw a menu of the latest studies except the shown one, or nothing if there are no others."""
    found = [study for study in studies().studies(kind, LISTED + 1) if study.id != shown][:LISTED]
    if not found:
        return
    on_open = callback(PAGES[kind].area)(_open)
    with st.popover(PAGES[kind].earlier, icon=":material/history:", key=f"{kind}_earlier"):
        for study in found:
            key = f"open_{study.id}"
            with st.container(horizontal=True, vertical_alignment="center", gap="small", key=f"earlier_{study.id}"):
                if study.picture.is_file():
                    changed = study.picture.stat().st_mtime
                    st.image(pictures.thumbnail(study.picture, changed), width=96, alt=study.picture_name)
                with st.container(gap=None):
                    title = formatting.plain(study.title)
                    st.button(title, key=key, type="tertiary", on_click=on_open, args=(study.id, opened))
                    when = time.strftime("%Y-%m-%d %H:%M", time.localtime(study.created))
                    st.caption(f"{formatting.plain(study.picture_name)}, {when}")


def _cancel(_: PageState, study_id: str) -> None:
    for job in active_jobs(studies().cells(studies().study(study_id))):
        resources.open_service().cancel(job.id)


def _open(page: PageState, study_id: str, opened: Opened) -> None:
    opened(page, studies().study(study_id))
