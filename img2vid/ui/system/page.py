"""System page: this computer, system checks, storage, and a diagnostics text for bug reports."""

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from img2vid import paths
from img2vid.doctor.diagnostics import Failure, Sources, diagnostics
from img2vid.doctor.redaction import Redaction, of_this_computer
from img2vid.doctor.report import Finding, State, summary
from img2vid.jobs.cluster import LOG
from img2vid.jobs.job import Job
from img2vid.jobs.job import State as JobState
from img2vid.ui import formatting, resources
from img2vid.ui.frame import draw_page
from img2vid.ui.gallery.recovery_box import rebuild_button
from img2vid.ui.shared.copy_button import copy_button
from img2vid.ui.state import PageState, callback, current, poll, report_drawing_errors, show_note
from img2vid.ui.system import computer, pollers

LIVE, PENDING = 2.0, 1.0
"""Poll intervals in seconds for live values and for pending results."""
FAILURES, NAMES = 5, 60
"""Number of recent failed jobs to include, and of recent jobs whose image names are redacted."""
MARKS = {State.OK: ":green[:material/check_circle:]", State.NOTE: ":orange[:material/info:]"}
PROBLEM = ":red[:material/error:]"
_COPY_HELP = "Folders, names, addresses, tokens and passwords are redacted. Read the text before you share it."


def system() -> None:
    """Draw the page. Slow checks run in background threads."""
    draw_page(_parts)


def _parts(page: PageState) -> None:
    watch = pollers.open_pollers()
    if watch.doctor.last() is None and not watch.doctor.is_polling and not _busy():
        watch.doctor.poll()
    watch.sizes.latest()
    st.fragment(_live, run_every=LIVE)()
    pending = _pending()
    poll("The report", _report, pending, _pending, PENDING if any(pending) else None)
    with st.container(key="system_versions"), report_drawing_errors("The versions"):
        st.markdown("#### Versions")
        computer.versions_box()


def _busy() -> bool:
    """Return whether a job is running; the doctor's GPU computations would disturb it."""
    return bool(resources.open_service().store.jobs(limit=1, states=[JobState.RUNNING]))


def _pending() -> tuple[bool, bool]:
    """Return whether the doctor's findings and the sizes are pending."""
    watch = pollers.open_pollers()
    return watch.doctor.is_polling, watch.sizes.last() is None


def _live() -> None:
    with report_drawing_errors("This computer"):
        left, right = st.columns(2, gap="medium")
        watch = pollers.open_pollers()
        cards = watch.cards.latest()
        with left, st.container(border=True, key="system_cards"):
            for card in cards or []:
                computer.card_box(card)
            if not cards:
                computer.no_card_box(cards is None)
        with left, st.container(border=True, key="system_workers"), report_drawing_errors("The workers"):
            st.markdown("**Workers**")
            computer.workers_box()
        with right, st.container(border=True, key="system_processor"):
            computer.processor_box()
        with right, st.container(border=True, key="system_disks"), report_drawing_errors("The disks"):
            computer.disks_box()


def _report() -> None:
    show_note(current(), "system")
    watch = pollers.open_pollers()
    findings = watch.doctor.last()
    st.markdown("#### System checks")
    _copying(findings)
    with st.container(key="system_doctor"):
        _findings(findings)
    st.markdown("#### Storage")
    with st.container(key="system_places"), report_drawing_errors("The folders"):
        computer.places_box(watch.sizes.last() or pollers.places())
        rebuild_button("rebuild")


def _copying(findings: Sequence[Finding] | None) -> None:
    watch = pollers.open_pollers()
    text = diagnostics_of(findings)
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="system_copy"):
        copy_button("Copy diagnostics", text, "copy_diagnostics")
        st.download_button(
            "Download",
            text,
            file_name="img2vid-diagnostics.md",
            mime="text/markdown",
            key="download_diagnostics",
            icon=":material/download:",
            on_click="ignore",
        )
        st.button(
            "Check again",
            key="ask_doctor",
            icon=":material/stethoscope:",
            disabled=watch.doctor.is_polling,
            help="Repeats all checks of `img2vid doctor`. The GPU check needs some GPU memory.",
            on_click=_ask,
        )
        st.caption(_COPY_HELP)
    with st.expander("Preview", key="system_text"):
        st.code(text, language=None, wrap_lines=True, height=420)


def diagnostics_of(findings: Sequence[Finding] | None) -> str:
    """Return the redacted diagnostics text."""
    service = resources.open_service()
    failed = service.store.jobs(limit=FAILURES, states=[JobState.FAILED])
    sources = Sources(
        cards=pollers.open_pollers().cards.last(),
        findings=findings,
        workers=[f"{name}: {device}" for name, _, device in service.workers()],
        failures=[Failure(_about(job), job.error, job.details) for job in failed],
        log=paths.home() / LOG,
        disks=computer.disks(),
    )
    return diagnostics(sources, _redaction([*failed, *service.store.jobs(limit=NAMES)]))


def _redaction(jobs: Sequence[Job]) -> Redaction:
    folders: dict[Path, str] = {}
    for job in jobs:
        if paths.home() not in (job.folder, *job.folder.parents):
            folders[job.folder] = "<save path>"
    names = {job.picture_name: "<picture>" for job in jobs if len(job.picture_name) > 2}
    hosts = {host: "<host>" for _, host, _ in resources.open_service().workers() if host != "this computer"}
    return of_this_computer(folders, names | hosts)


def _about(job: Job) -> str:
    settings = job.settings
    size = f"{settings.num_frames} frames of {settings.width} x {settings.height}, decode_t {settings.decode_t}"
    options = job.options
    how = f"{options.provider}, {options.device}, {options.precision}, memory {options.memory}"
    return f"{settings.version}, {size}, {settings.num_steps} steps ({how})"


def _findings(findings: Sequence[Finding] | None) -> None:
    if pollers.open_pollers().doctor.is_polling:
        st.caption(":material/hourglass_empty: Checking this computer. Loading torch takes a few seconds...")
    elif findings is None:
        st.caption("Not checked while a video is being made. **Check again** runs the checks anyway.")
    if findings is None:
        return
    st.markdown(f"**{formatting.plain(summary(findings))}**")
    for finding in (one for one in findings if one.state is not State.OK):
        _finding(finding)
    with st.expander(f"All {len(findings)} checks", key="system_checks"):
        for finding in findings:
            _finding(finding)


def _finding(finding: Finding) -> None:
    mark = MARKS.get(finding.state, PROBLEM)
    remedy = f"  \n:material/arrow_forward: {formatting.with_code(finding.remedy)}" if finding.remedy else ""
    st.markdown(f"{mark} **{formatting.plain(finding.check)}**: {formatting.with_code(finding.found)}{remedy}")


@callback("system")
def _ask(_: PageState) -> None:
    pollers.open_pollers().doctor.poll()
