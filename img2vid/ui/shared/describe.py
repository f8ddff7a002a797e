"""Describe it: a picture from a prompt as the input, and its video in the same press."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import streamlit as st

from img2vid import remedies
from img2vid.background import TaskResult
from img2vid.errors import BadInput
from img2vid.jobs.job import Job, State
from img2vid.text_to_image.settings import ImageSettings, image_settings_of, make_image_settings
from img2vid.text_to_image.versions import ImageVersion, load_image_versions
from img2vid.ui import formatting, resources
from img2vid.ui.shared import pictures
from img2vid.ui.shared.checkpoint import progress_text
from img2vid.ui.shared.controls import number_field, select
from img2vid.ui.shared.fields import Field, problem_box
from img2vid.ui.state import (
    Note,
    PageState,
    after_entry,
    callback,
    poll,
    report_drawing_errors,
    set_widget,
    widget_value,
)
from img2vid.ui.tabs import Picture

STATE = "describe"
"""Name of the tab's stored state, and start of the widget keys."""
INSTALLATION = "packages for pictures from prompts"
"""Name of the background task that installs them."""
COLUMNS = 4
"""Thumbnails in a row."""
ANIMATE_HELP = "Makes the picture, and then a video of the first one with the settings below."


@dataclass(frozen=True)
class Description:
    """Stored state of the tab. steps, guidance: None for the model's own."""

    prompt: str = ""
    negative_prompt: str = ""
    model: str = ImageSettings.model_fields["model"].default
    seed: int = ImageSettings.model_fields["seed"].default
    steps: int | None = None
    guidance: float | None = None
    candidates: int = 1
    job: str = ""
    """Job whose pictures are offered."""


def describe_box(page: PageState) -> None:
    """Draw the closed expander with prompt, settings, buttons and the pictures that were made."""
    kept = page.stored(STATE, Description)
    with st.expander("Describe it", expanded=bool(kept.prompt), key="describe"), report_drawing_errors("Describe it"):
        versions = load_image_versions()
        version = versions.get(kept.model)
        _text("prompt", kept.prompt, st.text_area, placeholder="A lighthouse in a storm", height=68)
        _text("negative_prompt", kept.negative_prompt, st.text_input)
        model, seed = st.columns([3, 2], vertical_alignment="bottom")
        with model:
            names = [*versions] if version is not None else [*versions, kept.model]
            note = (
                formatting.sentence(f"{version.name}: {version.note}") if version is not None and version.note else ""
            )
            select("Image model", names, kept.model, f"{STATE}_model", f"{_about('model')} {note}", _keep, "model")
        with seed:
            drawn = _number(page, "seed", kept.seed)
        problem_box(page, drawn)
        with st.container(key=f"row_{STATE}"):
            _numbers(page, kept, version)
        _buttons(page, kept, version)
        _candidates(page, kept)


def _numbers(page: PageState, kept: Description, version: ImageVersion | None) -> None:
    """Draw steps, guidance and candidates side by side, and below them what is wrong with their values."""
    drawn: list[Field] = []
    for place, name in zip(
        st.columns(3, vertical_alignment="bottom"), ("steps", "guidance", "candidates"), strict=True
    ):
        with place:
            value = getattr(kept, name)
            usual = getattr(version, name, ImageSettings.model_fields[name].default)
            drawn.append(_number(page, name, usual if value is None else value))
    for place, field in enumerate(drawn, 1):
        problem_box(page, field, place)


def restore_prompt(page: PageState, metadata: Mapping[str, Any]) -> None:
    """Set the prompt of the picture that a video with this metadata was made of, if there is one."""
    image = image_settings_of(metadata)
    if image is not None:
        names = ("prompt", "negative_prompt", "model", "seed", "steps", "guidance")
        page.drop_rejected(STATE)
        page.keep(STATE, **{name: getattr(image, name) for name in names}, candidates=1)


def follow_job(page: PageState, old: str, new: str) -> None:
    """Offer the pictures of a job that repeats the one whose pictures are offered."""
    if page.stored(STATE, Description).job == old:
        page.keep(STATE, job=new)


def _about(name: str) -> str:
    return ImageSettings.model_fields[name].description or ""


def _label(name: str) -> str:
    return ImageSettings.model_fields[name].title or name


def _text(name: str, value: str, draw: Callable[..., Any], **options: Any) -> None:
    key = f"{STATE}_{name}"
    draw(_label(name), set_widget(key, value, ""), key=key, help=_about(name), on_change=_keep, args=(name,), **options)


def _number(page: PageState, name: str, value: float) -> Field:
    """Draw a number and return its field."""
    field = Field(name, f"{STATE}_{name}", value, page.version, partial(_store, name), "input", model=ImageSettings)
    number_field(page, field, field.label, _about(name))
    return field


def _store(name: str, page: PageState, value: Any) -> None:
    page.keep(STATE, **{name: value})


def _buttons(page: PageState, kept: Description, version: ImageVersion | None) -> None:
    missing = _missing(version)
    size = "" if version is None else f"{formatting.pixels(*_size(page, version))} picture"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        for label, key, animate in (("Create", "create", False), ("Create and animate", "create_and_animate", True)):
            st.button(
                label,
                key=key,
                disabled=bool(missing) or version is None,
                help=ANIMATE_HELP if animate else None,
                on_click=after_entry(_create_and_animate if animate else _create),
            )
        st.caption(
            size if version is not None else f"{formatting.plain(kept.model)} is not known here; choose another model."
        )
    if missing and version is not None:
        # The page is drawn again when nothing, or something else, is missing.
        poll("The download", partial(_missing_box, version.name), missing, lambda: _missing(version), 1.0)


def _size(page: PageState, version: ImageVersion) -> tuple[int, int]:
    return version.size_for(page.tab.controls["width"], page.tab.controls["height"])


def _missing(version: ImageVersion | None) -> str:
    """Return a sentence on what to install, or "". Remote workers have their own packages and checkpoints."""
    if resources.open_service().is_remote():
        return ""
    if not remedies.has_text():
        return f"Press Install for diffusers ({remedies.DOWNLOAD}, Apache License 2.0)."
    if version is not None and version.checkpoint_path is None:
        return f"Press Download for {version.name} ({version.offer()})."
    return ""


def _missing_box(name: str) -> None:
    """Draw what is missing with a button for it, or the progress of that."""
    version, packages = load_image_versions()[name], not remedies.has_text()
    task = resources.open_checkpoint_tasks().get(INSTALLATION if packages else name)
    if task is not None and task.active:
        done = task.progress
        share = min(done.done / done.total, 1.0) if done and done.total else 0.0
        st.progress(share, text="Installing..." if packages else progress_text(task))
        return
    if task is not None and task.state == "failed":
        st.error(formatting.message(task.outcome.text))
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.caption(formatting.with_code(_missing(version)))
        if packages:
            st.button("Install", key="install_text", icon=":material/download:", on_click=_install)
        elif version.is_on_hub:
            st.button("Download", key="download_image_model", icon=":material/download:", on_click=_download)


def _candidates(page: PageState, kept: Description) -> None:
    """Draw the pictures of the tab's newest job; one click makes one the input."""
    job = _job(kept)
    if job is None or not job.pictures:
        return
    columns = st.columns(COLUMNS, gap="small")
    for index, path in enumerate(job.pictures):
        if not path.is_file():
            continue
        with columns[index % COLUMNS]:
            seed = job.seed + index
            st.image(pictures.thumbnail(path, path.stat().st_mtime), width="stretch", alt=f"Candidate {index + 1}")
            st.button(
                "Use",
                key=f"candidate_{index}",
                width="stretch",
                disabled=page.tab.picture is not None and page.tab.picture.file == path.name,
                help=f"Makes this picture, seed {seed}, the input.",
                on_click=_use,
                args=(job.id, index),
            )


def _job(kept: Description) -> Job | None:
    if not kept.job:
        return None
    try:
        return resources.open_service().store.job(kept.job)
    except BadInput:  # rebuilt or another home
        return None


@callback("input")
def _keep(page: PageState, name: str) -> None:
    value = widget_value(f"{STATE}_{name}")
    if value is None:
        return
    page.keep(STATE, **{name: value})
    if name == "model":
        page.drop_rejected(STATE)
        page.keep(STATE, steps=None, guidance=None)


@callback("input")
def _create(page: PageState) -> None:
    _submit(page, animate=False)


@callback("input")
def _create_and_animate(page: PageState) -> None:
    _submit(page, animate=True)


def _submit(page: PageState, *, animate: bool) -> None:
    """Queue the pictures, unless the same ones are queued or running, or the pictures and their video if `animate`."""
    service = resources.open_service()
    image, settings, options = _image(page), page.settings(), page.tab.options
    jobs = service.store.jobs(states=(State.RUNNING, State.WAITING))
    if any((job.image, job.options) == (image, options) for job in jobs) and not animate:
        page.note = Note("info", "Already in the queue. Change the image seed for another picture.", place="input")
        return
    first, *_ = service.submit_image(image, settings, options, page.tab.folder, animate=animate)
    page.keep(STATE, job=first.id)
    page.show("")


def _image(page: PageState) -> ImageSettings:
    """Return the settings of the tab's pictures. Raise BadInput if one is invalid."""
    page.require_accepted(f"{STATE}_{name}" for name in ImageSettings.model_fields)
    kept, controls = page.stored(STATE, Description), page.tab.controls
    version = load_image_versions().get(kept.model)
    if version is None:
        raise BadInput(f"there is no image model {kept.model!r}; choose another one")
    width, height = _size(page, version)
    values = {
        **{name: getattr(kept, name) for name in ("prompt", "negative_prompt", "model", "seed", "candidates")},
        "steps": version.steps if kept.steps is None else kept.steps,
        "guidance": version.guidance if kept.guidance is None else kept.guidance,
    }
    return make_image_settings({**values, "width": width, "height": height, "watermark": controls["watermark"]})


@callback("input")
def _use(page: PageState, job_id: str, index: int) -> None:
    job = resources.open_service().store.job(job_id)
    page.begin_pictures([Picture(job.pictures[index].name, job.picture_name)])


@callback("input")
def _install(_: PageState) -> None:
    def work(on_progress: Any) -> TaskResult:
        remedies.install_text()
        return TaskResult("installed")

    resources.open_checkpoint_tasks().start(INSTALLATION, work)


@callback("input")
def _download(page: PageState) -> None:
    version = load_image_versions()[page.stored(STATE, Description).model]
    resources.open_checkpoint_tasks().download(version)
