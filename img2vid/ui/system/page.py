"""The System page: what this computer is, what lies where, and one text about all of it for a report of a fault."""

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
from img2vid.ui.shared.copy_button import copy_button
from img2vid.ui.state import callback_state, current, report_drawing_errors, report_errors, show_note
from img2vid.ui.system import computer, pollers

LIVE, PENDING = 2.0, 1.0
"""Seconds between two looks at what changes all the time, and at what is on its way."""
FAILURES, NAMES = 5, 60
"""Jobs that failed and are told of, the newest; and jobs whose pictures' names are hidden."""
MARKS = {State.OK: ":green[:material/check_circle:]", State.NOTE: ":orange[:material/info:]"}
PROBLEM = ":red[:material/error:]"
_COPY_HELP = "Without your folders, names, addresses, tokens and passwords; read it before you show it to others."


def system() -> None:
    """Draws the page; nothing here takes long, for everything slow is looked at in the background."""
    with report_drawing_errors("The page"):
        page = current()
        watch = pollers.open_pollers()
        if watch.doctor.last() is None and not watch.doctor.is_polling and not _busy():
            watch.doctor.poll()
        watch.sizes.latest()
        page.seen = _pending()
        st.fragment(_live, run_every=LIVE)()
        st.fragment(_report, run_every=PENDING if any(_pending()) else None)()
        with st.container(key="system_versions"), report_drawing_errors("The versions"):
            st.markdown("#### Versions")
            computer.versions_box()
        with report_drawing_errors("The workers' state"):
            resources.start()


def _busy() -> bool:
    """Whether a video is being made, which the doctor's own computations on the card would disturb."""
    return bool(resources.open_service().store.jobs(limit=1, states=[JobState.RUNNING]))


def _pending() -> tuple[bool, bool]:
    """What is on its way: the doctor's findings, the sizes."""
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
    with report_drawing_errors("The report"):
        page = current()
        if _pending() != page.seen:
            st.rerun()
        if page.note is not None and page.note.place == "system":
            show_note(page.note)
        watch = pollers.open_pollers()
        findings = watch.doctor.last()
        st.markdown("#### What the doctor says")
        _copying(findings)
        with st.container(key="system_doctor"):
            _findings(findings)
        st.markdown("#### Where things are stored")
        with st.container(key="system_places"), report_drawing_errors("The folders"):
            computer.places_box(watch.sizes.last() or pollers.places())


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
            "Look again",
            key="ask_doctor",
            icon=":material/stethoscope:",
            disabled=watch.doctor.is_polling,
            help="Makes all checks of `img2vid doctor` anew. A check of the card needs some of its memory.",
            on_click=_ask,
        )
        st.caption(_COPY_HELP)
    with st.expander("What will be copied", key="system_text"):
        st.code(text, language=None, wrap_lines=True, height=420)


def diagnostics_of(findings: Sequence[Finding] | None) -> str:
    """The text for a report, without anything private."""
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
    choice = job.choice
    how = f"{choice.provider}, {choice.device}, {choice.precision}, memory {choice.memory}"
    return f"{settings.version}, {size}, {settings.num_steps} steps ({how})"


def _findings(findings: Sequence[Finding] | None) -> None:
    if pollers.open_pollers().doctor.is_polling:
        st.caption(":material/hourglass_empty: Looking at this computer; loading torch takes some seconds ...")
    elif findings is None:
        st.caption("A video is being made; **Look again** makes the checks all the same.")
    if findings is None:
        return
    st.markdown(f"**{formatting.plain(summary(findings))}**")
    told = [one for one in findings if one.state is not State.OK]
    for finding in told:
        _finding(finding)
    with st.expander(f"All {len(findings)} checks", key="system_checks"):
        for finding in findings:
            _finding(finding)


def _finding(finding: Finding) -> None:
    mark = MARKS.get(finding.state, PROBLEM)
    remedy = f"  \n:material/arrow_forward: {formatting.plain(finding.remedy)}" if finding.remedy else ""
    st.markdown(f"{mark} **{formatting.plain(finding.check)}**: {formatting.plain(finding.found)}{remedy}")


def _ask() -> None:
    with report_errors(callback_state(), "system"):
        pollers.open_pollers().doctor.poll()
