"""Result: the video with downloads, actions and frames, unfinished jobs and earlier results."""

import json
from collections.abc import Collection, Sequence
from functools import partial
from pathlib import Path
from typing import cast, get_args

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from img2vid.comfyui.export import can_export, export_workflow
from img2vid.gallery.entries import Entries, Entry
from img2vid.jobs.job import Job, State, one_video
from img2vid.jobs.latent_cache import LatentCache, latents_key
from img2vid.media.exports import POSES, Playback, animation_of, frames_as_zip, last_frame, video_of
from img2vid.orbit import path_of
from img2vid.progress import Result
from img2vid.text_to_image.settings import image_settings_of
from img2vid.text_to_image.workflow import prompt_of_image
from img2vid.ui import formatting, resources
from img2vid.ui.sample.activity import followed_job, progress_box
from img2vid.ui.sample.start import submit
from img2vid.ui.shared import extended, pictures
from img2vid.ui.shared.describe import follow_job, restore_prompt
from img2vid.ui.shared.downloads import Offer, download_buttons
from img2vid.ui.shared.media import autoplaying_video
from img2vid.ui.shared.open_folder import file_buttons
from img2vid.ui.shared.seed import random_seed
from img2vid.ui.state import Note, PageState, callback, details_box, report_drawing_errors
from img2vid.ui.tabs import Picture
from img2vid.ui.uploads import keep_picture

LISTED = 8
"""Maximum number of earlier results that are listed."""
UNFINISHED_LISTED = 4
"""Maximum number of unfinished jobs that are shown at once."""
UNFINISHED = (State.FAILED, State.INTERRUPTED)


def result_box(page: PageState, stage: DeltaGenerator) -> None:
    """Draw the followed job or the selected result in `stage`, then the unfinished jobs, the result and earlier ones.

    The stage has the proportions of the chosen size, so that a preview, a video and their place are equally large.
    """
    store = resources.open_service().store
    jobs, followed = store.jobs(limit=60), followed_job(page, store)
    st.html(f"<style>.st-key-stage {{ --ratio: {page.tab.controls['width']} / {page.tab.controls['height']} }}</style>")
    if followed is not None:
        with stage:
            progress_box(followed)
    with st.container(key="unfinished"):
        for job in unfinished(jobs, page.tab.dismissed)[:UNFINISHED_LISTED]:
            _unfinished(job)
            st.space("small")
    made = [job for job in jobs if job.results]
    shown = next((job for job in made if job.id == page.tab.shown), made[0] if made else None)
    with st.container(key="result"), report_drawing_errors("The result"):
        if shown is not None:
            _result(shown, None if followed else stage)
        elif followed is None:
            with stage, st.container():
                st.caption("The video appears here.", text_alignment="center")
    if shown is not None and (followed or len(made) > 1):
        st.space("small")
        with st.container(key="earlier"), report_drawing_errors("Earlier results"):
            _earlier(made[:LISTED], "" if followed else shown.id)


def unfinished(jobs: Sequence[Job], dismissed: Collection[str]) -> list[Job]:
    """Return the unfinished jobs that were neither run again nor dismissed; `jobs` is sorted newest first.

    Jobs that continue an unfinished one are left out.
    """
    found: list[Job] = []
    since: list[tuple[object, ...]] = []
    ended = {job.id for job in jobs if job.state.ended and not (job.made or (job.image and job.state is State.DONE))}
    for job in jobs:
        if job.continues in ended:
            continue  # shown and run again with the job that it continues
        request = (job.settings, job.image, job.picture, job.picture_name, job.folder)
        if job.state in UNFINISHED and job.id not in dismissed and request not in since:
            found.append(job)
        since.append(request)
    return found


def _unfinished(job: Job) -> None:
    text = f"{formatting.title(job)}: {formatting.message(job.error)}"
    with st.container(key=f"unfinished_{job.id}"):
        (st.warning if job.state is State.INTERRUPTED else st.error)(text)
        with st.container(horizontal=True, gap="small"):
            st.button("Run again", key=f"again_{job.id}", icon=":material/replay:", on_click=_again, args=(job.id,))
            st.button("Dismiss", key=f"dismiss_{job.id}", type="tertiary", on_click=_dismiss, args=(job.id,))
        if LatentCache(resources.open_service().store.home).has(latents_key(job, job.made)):
            st.caption("Sampling is finished and saved. Run again only decodes the video.")
        details_box(job.details)


def _result(job: Job, stage: DeltaGenerator | None) -> None:
    """Draw a result, and its video in `stage`; None: the stage shows the progress of another one."""
    result = _chosen(job)
    if not result.video.is_file():
        st.warning(f"{formatting.plain(str(result.video))} no longer exists.")
        return
    if stage is not None:
        with stage, st.container():  # like the fragment that draws progress, so that one replaces the other
            autoplaying_video(result.video, f"Video made from {job.picture_name}")
    st.caption(("" if stage is not None else "Last result: ") + _about(job, result))
    if job.notice:
        st.info(formatting.message(job.notice))
    downloads(job, result, "downloads")
    entry = _entry_of(job, result)
    _next_steps(job, result, entry)
    if entry is not None:
        with st.container(key="extended"):
            extended.joined_box(entry, "sample", _show_part)
    st.image(
        pictures.sheet(result.video, result.video.stat().st_mtime),
        width="stretch",
        alt="All frames, from left to right and top to bottom",
    )


def _entry_of(job: Job, result: Result) -> Entry | None:
    found = Entries(resources.open_service().store).find_by_job(job.id)
    return next((entry for entry in found if entry.result == result), None)


def _chosen(job: Job) -> Result:
    if len(job.results) == 1:
        return job.results[0]
    by_seed = {result.seed: result for result in job.results}
    seed = st.segmented_control(
        "Seed of the video", list(by_seed), default=next(iter(by_seed)), required=True, key=f"seed_of_{job.id}"
    )
    return by_seed[seed] if seed in by_seed else job.results[0]


def _about(job: Job, result: Result) -> str:
    settings = job.settings
    facts = [
        f"seed {result.seed}",
        formatting.plain(job.picture_name),
        formatting.plain(settings.version),
        formatting.dimensions(settings),
        f"made in {formatting.span(result.seconds)}",
    ]
    return " · ".join(facts) + f"  \n{formatting.plain(str(result.video))}"


def downloads(job: Job, result: Result, key: str) -> None:
    """Draw the choice of playback and the downloads; `key` is unique on the page."""
    chosen = st.segmented_control(
        "Playback of downloads",
        get_args(Playback),
        default="once",
        required=True,
        key=f"{key}_playback",
        format_func=str.capitalize,
        help="MP4, GIF and WebP: once as made, boomerang forward and back, loop with the end faded into the start.",
    )
    download_buttons(offers(job, result, cast(Playback, chosen)), result.video.stem, key)


def offers(job: Job, result: Result, playback: Playback = "once") -> dict[str, Offer]:
    """Return the downloads of a result by button label."""
    video, fps = result.video, job.settings.file_fps
    gif, webp = (partial(animation_of, video, kind, fps=fps, playback=playback) for kind in ("gif", "webp"))
    path = path_of(result.metadata)
    frames, poses = partial(frames_as_zip, video, path), f", with camera poses in {POSES}" if path else ""
    mp4 = partial(video_of, video, fps=fps, playback=playback)
    order = "" if playback == "once" else f"_{playback}"
    found = {
        "MP4": Offer(f"{order}.mp4", "video/mp4", mp4, "Video with its settings as metadata"),
        "GIF": Offer(f"{order}.gif", "image/gif", gif, "Animation with 256 colors per frame"),
        "WebP": Offer(f"{order}.webp", "image/webp", webp, "Animation with full color"),
        "PNG": Offer(".zip", "application/zip", frames, f"All frames as PNG files in a zip{poses}"),
    }
    if result.sidecar.is_file():  # imported videos may have none
        settings = "Settings; add the file to Input to restore them"
        found["JSON"] = Offer(".json", "application/json", result.sidecar.read_bytes, settings)
    one = one_video(job.settings, result.seed)
    if can_export(one):
        image = image_settings_of(result.metadata)
        picture = f"{job.picture_name}{job.picture.suffix}" if image is None else prompt_of_image(image)
        export = export_workflow(one, picture)
        about = ". ".join(filter(None, ("Export as ComfyUI workflow", export.notice)))
        found["ComfyUI"] = Offer("_comfyui.json", "application/json", partial(_json, export.page), about)
    return found


def _json(tree: object) -> bytes:
    return json.dumps(tree, indent=1).encode()


def _next_steps(job: Job, result: Result, entry: Entry | None) -> None:
    with st.container(horizontal=True, gap="xsmall", key="next_steps"):
        if entry is not None:
            extended.extend_buttons(entry, "sample")
        file_buttons(result.video, "sample")
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


def _earlier(made: list[Job], in_stage: str) -> None:
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
                disabled=job.id == in_stage,
                help=formatting.about(job),
                on_click=_show,
                args=(job.id,),
            )
            named = (formatting.plain(job.picture_name), job.settings.version, *formatting.unusual(job.settings))
            st.caption(" · ".join(named))


@callback("sample")
def _show(page: PageState, job_id: str) -> None:
    page.show(job_id)


@callback("sample")
def _show_part(page: PageState, entry: Entry) -> None:
    page.show(entry.job.id)


@callback("sample")
def _again(page: PageState, job_id: str) -> None:
    follow_job(page, job_id, resources.open_service().resubmit(job_id).id)


@callback("sample")
def _dismiss(page: PageState, job_id: str) -> None:
    page.dismiss(job_id)


@callback("sample")
def _new_seed(page: PageState, job_id: str) -> None:
    job = resources.open_service().store.job(job_id)
    settings = job.settings.model_copy(update={"seed": random_seed()})
    submit(page, settings, job.options, job.picture, job.picture_name)


@callback("sample")
def _continue(page: PageState, job_id: str, video: Path) -> None:
    job = resources.open_service().store.job(job_id)
    page.begin_pictures([keep_picture(last_frame(video), f"{job.picture_name}_last.png")])
    page.note = Note("done", "The last frame is now the input.", place="input")


@callback("sample")
def _take_over(page: PageState, job_id: str, seed: int) -> None:
    job = resources.open_service().store.job(job_id)
    page.restore({**job.settings.model_dump(), "seed": seed, "num_samples": 1})
    page.set_picture(Picture(job.picture.name, job.picture_name))
    for result in job.results:
        if result.seed == seed:
            restore_prompt(page, result.metadata)
    text = f"Restored settings and image from {job.picture_name}, seed {seed}."
    page.note = Note("done", text, place="input")
