"""Result: the video with downloads, actions and frames, unfinished jobs and earlier results."""

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
from img2vid.ui.state import Note, PageState, callback, report_drawing_errors
from img2vid.ui.tabs import Picture
from img2vid.ui.uploads import keep_picture

LISTED = 8
"""Maximum number of earlier results that are listed."""
UNFINISHED_LISTED = 4
"""Maximum number of unfinished jobs that are shown at once."""
UNFINISHED = (State.FAILED, State.INTERRUPTED)


def result_box(page: PageState) -> None:
    """Draw the unfinished jobs, the selected result and the earlier ones."""
    jobs = resources.open_service().store.jobs(limit=60)
    with st.container(key="unfinished"):
        for job in unfinished(jobs, page.tab.dismissed)[:UNFINISHED_LISTED]:
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
    """Return the unfinished jobs that were neither run again nor dismissed; `jobs` is sorted newest first."""
    found: list[Job] = []
    since: list[tuple[object, ...]] = []
    for job in jobs:
        request = (job.settings, job.picture, job.picture_name, job.folder)
        if job.state in UNFINISHED and job.id not in dismissed and request not in since:
            found.append(job)
        since.append(request)
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
            st.caption("Sampling is finished and saved. Run again only decodes the video.")
        if job.details:
            with st.expander("Details"):
                st.code(job.details, language=None, wrap_lines=True)


def _result(job: Job) -> None:
    result = _chosen(job)
    if not result.video.is_file():
        st.warning(f"{formatting.plain(str(result.video))} no longer exists.")
        return
    looping_video(result.video, f"Video made from {job.picture_name}", "result")
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
        "Seed of the video", list(by_seed), default=next(iter(by_seed)), required=True, key=f"seed_of_{job.id}"
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
    """Downloadable file; `make` is called only when the button is pressed."""

    suffix: str
    mime: str
    make: Callable[[], bytes]
    help_text: str


def offers(job: Job, result: StoredResult) -> dict[str, Offer]:
    """Return the downloads of a result by button label."""
    video, fps = result.video, job.settings.file_fps
    gif, webp = (partial(animation_of, video, kind, fps=fps) for kind in ("gif", "webp"))
    frames = partial(frames_as_zip, video)
    found = {
        "MP4": Offer(".mp4", "video/mp4", video.read_bytes, "Video with its settings as metadata"),
        "GIF": Offer(".gif", "image/gif", gif, "Animation with 256 colors per frame"),
        "WebP": Offer(".webp", "image/webp", webp, "Animation with full color"),
        "PNG": Offer(".zip", "application/zip", frames, "All frames as PNG files in a zip"),
    }
    if result.sidecar.is_file():  # imported videos may have none
        settings = "Settings; add the file to Input to restore them"
        found["JSON"] = Offer(".json", "application/json", result.sidecar.read_bytes, settings)
    return found


def download_buttons(job: Job, result: StoredResult, key: str) -> None:
    """Draw a button for each download; `key` is unique on the page."""
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
            help="Makes another video from the same image with these settings.",
            on_click=_new_seed,
            args=(job.id,),
        )
        st.button(
            "Use the last frame as the next input",
            key="last_frame",
            icon=":material/last_page:",
            help="Continues where this video ends. Each pass loses some color and sharpness.",
            on_click=_continue,
            args=(job.id, result.video),
        )
        st.button(
            "Use these settings",
            key="these_settings",
            icon=":material/tune:",
            help="Restores this video's settings and image.",
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


@callback("sample")
def _show(page: PageState, job_id: str) -> None:
    page.show(job_id)


@callback("sample")
def _again(_: PageState, job_id: str) -> None:
    resources.open_service().resubmit(job_id)


@callback("sample")
def _dismiss(page: PageState, job_id: str) -> None:
    page.dismiss(job_id)


@callback("sample")
def _new_seed(page: PageState, job_id: str) -> None:
    job = resources.open_service().store.job(job_id)
    settings = job.settings.model_copy(update={"seed": random_seed()})
    submit(page, settings, job.choice, job.picture, job.picture_name)


@callback("sample")
def _continue(page: PageState, job_id: str, video: Path) -> None:
    job = resources.open_service().store.job(job_id)
    page.set_picture(keep_picture(last_frame(video), f"{job.picture_name}_last.png"))
    page.note = Note("done", "The last frame is now the input.", place="input")


@callback("sample")
def _take_over(page: PageState, job_id: str, seed: int) -> None:
    job = resources.open_service().store.job(job_id)
    page.set(**{**job.settings.model_dump(), "seed": seed, "num_samples": 1})
    page.set_picture(Picture(job.picture.name, job.picture_name))
    text = f"Restored settings and image from {job.picture_name}, seed {seed}."
    page.note = Note("done", text, place="input")
