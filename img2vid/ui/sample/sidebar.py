"""Sidebar: size, seed and output folder; sampler, discretization, guider, approximations and engine in expanders."""

from typing import Any

import streamlit as st

from img2vid import paths
from img2vid.options import CHOICES, MOST_THREADS, OPTIONS
from img2vid.presets import reset
from img2vid.settings import APPROXIMATIONS, PARAMS, approximated, label_of
from img2vid.ui import resources
from img2vid.ui.sample.model import is_requested
from img2vid.ui.sample.size import size_box
from img2vid.ui.shared.controls import control, select
from img2vid.ui.shared.presets import preset_box
from img2vid.ui.shared.seed import seed_box
from img2vid.ui.state import PageState, after_entry, callback, set_widget, widget_value

DEVICES = ("auto", "cpu", "cuda", "mps")
ON_THE_PAGE = ("max_scale", "scale")
"""Guider parameters on the main page, as in the reference demo."""


def sidebar(page: PageState, *, basic: bool) -> None:
    """Draw the sidebar. basic: only what the Basic view leaves out and is no setting."""
    if not basic:
        with st.container(key="dimensions", gap="xsmall"):
            for name in ("height", "width", "num_frames"):
                control(page, name)
        size_box(page)
        seed_box(page)
    _saving(page)
    if not basic:
        _group(page, "Sampler", "sampler")
        _group(page, "Discretization", "discretization")
        _group(page, "Guider", "guider")
        _approximations(page)
        _engine(page)
        preset_box(page)
    st.button(
        f"Reset to {page.version.name} defaults",
        key="defaults",
        icon=":material/restart_alt:",
        type="tertiary",
        help="Resets all controls except image, seed and folder.",
        on_click=after_entry(_reset),
    )


def _saving(page: PageState) -> None:
    st.checkbox(
        "Save images locally",
        set_widget("save_locally", page.tab.save_locally, False),
        key="save_locally",
        help="Saves the video, its first frame and its settings in a folder of your choice. When off, the video is "
        "still shown but kept with the program's own files. Default: on.",
        on_change=_keep_saving,
    )
    if page.tab.save_locally:
        st.text_input(
            "Save path",
            set_widget("save_path", page.tab.save_path, ""),
            key="save_path",
            placeholder=str(paths.home() / page.version.name),
            help="Output folder; created if missing. Leave empty for the folder shown in gray.",
            on_change=_keep_saving,
        )


@callback("sample")
def _keep_saving(page: PageState) -> None:
    page.tab.save_locally = widget_value("save_locally")
    path = widget_value("save_path")
    if path is not None:
        page.tab.save_path = paths.without_quotes(path)
    page.save()
    if page.tab.folder is not None:  # raise BadInput at once instead of when Sample is pressed
        paths.require_writable(page.tab.folder)


def _group(page: PageState, title: str, choice: str) -> None:
    """Draw a choice and its parameters in an expander."""
    chosen: str = page.tab.controls[choice]
    with st.expander(title, key=f"{choice}_group"):
        control(page, choice)
        for name in PARAMS[chosen]:
            if name not in ON_THE_PAGE:
                control(page, name)


def _approximations(page: PageState) -> None:
    """Draw the approximations in an expander whose title lists the enabled ones."""
    on = ", ".join(label_of(name) for name in approximated(page.tab.controls))
    with st.expander(f"Approximations: {on}" if on else "Approximations", key="approximations_group"):
        st.caption("Faster, but changes the result. docs/approximations.md lists what each one saves and costs.")
        for name in APPROXIMATIONS:
            control(page, name)


def _engine(page: PageState) -> None:
    with st.expander("Engine, precision, memory", key="engine_group"):
        for name, value in sorted(vars(page.tab.options).items(), key=lambda item: isinstance(item[1], bool)):
            _engine_option(name, value)
        control(page, "watermark")
        for name, host, device in resources.open_service().workers():
            st.caption(f"{name} on {host}, {device}")


def _engine_option(name: str, value: Any) -> None:
    label, help_text = OPTIONS[name]["label"], OPTIONS[name]["help"]
    if isinstance(value, str):
        options = DEVICES if name == "device" else CHOICES[name]
        known = options if value in options else (*options, value)
        select(label, known, value, name, help_text, _keep_option, name)
    elif isinstance(value, bool):
        default = set_widget(name, value, False)
        st.checkbox(label, default, key=name, help=help_text, on_change=_keep_option, args=(name,))
    else:
        st.number_input(
            label,
            min_value=0,
            max_value=MOST_THREADS,
            value=set_widget(name, value, "min"),
            key=name,
            help=help_text,
            on_change=_keep_option,
            args=(name,),
        )


@callback("sample")
def _keep_option(page: PageState, name: str) -> None:
    service = resources.open_service()
    page.set_options(**{name: widget_value(name)})
    if is_requested(service.store.model(), page.version):
        service.load(page.version.name, page.tab.options)


@callback("sample")
def _reset(page: PageState) -> None:
    page.set(**reset(page.tab.controls, page.version))
