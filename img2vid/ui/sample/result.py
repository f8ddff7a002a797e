"""Result: the video, its downloads and what can be done with it, its frames; what went wrong; earlier results."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import streamlit as st

from img2vid.jobs.job import Job, State, StoredResult
from img2vid.jobs.latent_cache import LatentCache, latents_key
from img2vid.media.exports import animation_of, frames_as_zip, last_frame
from img2vid.ui import formatting, resources
from img2vid.ui.sample.start import submit
from img2vid.ui.shared import pictures
from img2vid.ui.shared.looping_video import looping_video
from img2vid.ui.shared.sidebar import random_seed
from img2vid.ui.state import Note, PageState, callback_state, report_drawing_errors, report_errors
from img2vid.ui.tabs import Picture
from img2vid.ui.uploads import keep_picture

LISTED = 8
"""Earlier results that can be looked at again."""
TOLD = 4
"""Jobs that did not finish and are told of at once; when these are settled, the next come."""
UNFINISHED = (State.FAILED, State.INTERRUPTED)


def result_box(page: PageState) -> None:
    """Draws what went wrong, the result that is looked at, and the earlier ones."""
    jobs = resources.open_service().store.jobs(limit=60)
    with st.container(key="unfinished"):
        for job in unfinished(jobs, page.tab.dismissed)[:TOLD]:
            _unfinished(job)
            st.space("small")
    made = [job for job in jobs if job.results]
    shown = next((job for job in made if job.id == page.tab.shown), made[0] if made else None)
    with st.container(key="result"):
        if shown is not None:
            with report_drawing_errors("The result"):
                _result(shown)
        elif not any(job.state in (State.RUNNING, State.WAITING) for job in jobs):
            _nothing_yet()
    if len(made) > 1 and shown is not None:
        st.space("small")
        with st.container(key="earlier"), report_drawing_errors("Earlier results"):
            _earlier(made[:LISTED], shown)


def unfinished(jobs: Sequence[Job], dismissed: Collection[str]) -> list[Job]:
    """The jobs, of `jobs` from new to old, that did not finish and were neither run again since nor dismissed."""
    found: list[Job] = []
    since: list[tuple[object, ...]] = []
    for job in jobs:
        what = (job.settings, job.picture, job.picture_name, job.folder)
        if job.state in UNFINISHED and job.id not in dismissed and what not in since:
            found.append(job)
        since.append(what)
    return found


def _nothing_yet() -> None:
    with st.container(border=True, height=260, vertical_alignment="center", horizontal_alignment="center"):
        st.caption("The video appears here.", text_alignment="center")


def _unfinished(job: Job) -> None:
    text = f"{formatting.title(job)}: {formatting.plain(formatting.sentence(job.error))}"
    with st.container(key=f"unfinished_{job.id}"):
        (st.warning if job.state is State.INTERRUPTED else st.error)(text)
        with st.container(horizontal=True, gap="small"):
            st.button("Run again", key=f"again_{job.id}", icon=":material/replay:", on_click=_again, args=(job.id,))
            st.button("Dismiss", key=f"dismiss_{job.id}", type="tertiary", on_click=_dismiss, args=(job.id,))
        if LatentCache(resources.open_service().store.home).has(latents_key(job, job.made)):
            st.caption("What was sampled is kept: run again, it is only decoded.")
        if job.details:
            with st.expander("Details"):
                st.code(job.details, language=None, wrap_lines=True)


def _result(job: Job) -> None:
    result = _chosen(job)
    if not result.video.is_file():
        st.warning(f"{formatting.plain(str(result.video))} is not there any more.")
        return
    looping_video(result.video, f"The video made of {job.picture_name}", "result")
    st.caption(_about(job, result))
    if job.notice:
        st.info(formatting.plain(formatting.sentence(job.notice)))
    download_buttons(job, result, "downloads")
    _next_steps(job, result)
    st.image(
        pictures.sheet(result.video, result.video.stat().st_mtime),
        width="stretch",
        alt="All frames, from left to right and top to bottom",
    )


def _chosen(job: Job) -> StoredResult:
    if len(job.results) == 1:
        return job.results[0]
    by_seed = {result.seed: result for result in job.results}
    seed = st.segmented_control(
        "seed of the video", list(by_seed), default=next(iter(by_seed)), required=True, key=f"seed_of_{job.id}"
    )
    return by_seed[seed] if seed in by_seed else job.results[0]


def _about(job: Job, result: StoredResult) -> str:
    settings = job.settings
    facts = [
        f"seed {result.seed}",
        formatting.plain(job.picture_name),
        formatting.plain(settings.version),
        f"{settings.num_frames} frames of {settings.width} x {settings.height} at {settings.file_fps:g} fps",
        f"made in {formatting.span(result.seconds)}",
    ]
    return " · ".join(facts) + f"  \n{formatting.plain(str(result.video))}"


@dataclass(frozen=True)
class Offer:
    """A file to download; `make` is called when the button is pressed, not before."""

    suffix: str
    mime: str
    make: Callable[[], bytes]
    help_text: str


def offers(job: Job, result: StoredResult) -> dict[str, Offer]:
    """The kinds of file that a result can be had as, by the labels of their buttons."""
    video, fps = result.video, job.settings.file_fps
    gif, webp = (partial(animation_of, video, kind, fps=fps) for kind in ("gif", "webp"))
    frames = partial(frames_as_zip, video)
    found = {
        "MP4": Offer(".mp4", "video/mp4", video.read_bytes, "The video, with its settings inside"),
        "GIF": Offer(".gif", "image/gif", gif, "A moving picture of 256 colours a frame"),
        "WebP": Offer(".webp", "image/webp", webp, "A moving picture of all colours"),
        "PNG": Offer(".zip", "application/zip", frames, "All frames as PNG files, in a zip"),
    }
    if result.sidecar.is_file():  # a video that was imported may have come without
        settings = "The settings; Input takes them again"
        found["JSON"] = Offer(".json", "application/json", result.sidecar.read_bytes, settings)
    return found


def download_buttons(job: Job, result: StoredResult, key: str) -> None:
    """Draws a button for each kind of file; `key` is what no other row of such buttons on the page has."""
    with st.container(horizontal=True, gap="xsmall", vertical_alignment="center", key=key):
        for label, offer in offers(job, result).items():
            st.download_button(
                label,
                offer.make,
                file_name=f"{result.video.stem}{offer.suffix}",
                mime=offer.mime,
                key=f"{key}_{label}_{job.id}_{result.seed}",
                icon=":material/download:",
                help=offer.help_text,
                on_click="ignore",
            )


def _next_steps(job: Job, result: StoredResult) -> None:
    with st.container(horizontal=True, gap="xsmall", key="next_steps"):
        st.button(
            "Same settings, new seed",
            key="new_seed",
            icon=":material/casino:",
            help="Makes another video of the same picture with the settings of this one.",
            on_click=_new_seed,
            args=(job.id,),
        )
        st.button(
            "Use the last frame as the next input",
            key="last_frame",
            icon=":material/last_page:",
            help="To go on where this video ends; each time some colour and sharpness is lost.",
            on_click=_continue,
            args=(job.id, result.video),
        )
        st.button(
            "Use these settings",
            key="these_settings",
            icon=":material/tune:",
            help="Sets the controls and the input to those of this video.",
            on_click=_take_over,
            args=(job.id, result.seed),
        )


def _earlier(made: list[Job], shown: Job) -> None:
    st.markdown("**Earlier results**")
    columns = st.columns(4, gap="small")
    for index, job in enumerate(made):
        still = job.results[0].still
        with columns[index % 4]:
            if still.is_file():
                st.image(pictures.thumbnail(still, still.stat().st_mtime), width="stretch", alt=formatting.title(job))
            st.button(
                f"seed {job.settings.seed}",
                key=f"show_{job.id}",
                type="tertiary",
                width="stretch",
                disabled=job.id == shown.id,
                help=formatting.title(job),
                on_click=_show,
                args=(job.id,),
            )


def _show(job_id: str) -> None:
    page = callback_state()
    with report_errors(page):
        page.show(job_id)


def _again(job_id: str) -> None:
    with report_errors(callback_state()):
        resources.open_service().resubmit(job_id)


def _dismiss(job_id: str) -> None:
    page = callback_state()
    with report_errors(page):
        page.dismiss(job_id)


def _new_seed(job_id: str) -> None:
    page = callback_state()
    with report_errors(page):
        job = resources.open_service().store.job(job_id)
        settings = job.settings.model_copy(update={"seed": random_seed()})
        submit(page, settings, job.choice, job.picture, job.picture_name)


def _continue(job_id: str, video: Path) -> None:
    page = callback_state()
    with report_errors(page):
        job = resources.open_service().store.job(job_id)
        page.set_picture(keep_picture(last_frame(video), f"{job.picture_name}_last.png"))
        page.note = Note("done", f"The last frame of {job.picture_name} is the input now.", place="input")


def _take_over(job_id: str, seed: int) -> None:
    page = callback_state()
    with report_errors(page):
        job = resources.open_service().store.job(job_id)
        page.set(**{**job.settings.model_dump(), "seed": seed, "num_samples": 1})
        page.set_picture(Picture(job.picture.name, job.picture_name))
        text = f"The settings and the input of {job.picture_name}, seed {seed}, are back."
        page.note = Note("done", text, place="input")
