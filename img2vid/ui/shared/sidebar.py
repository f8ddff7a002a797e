"""The sidebar: size, seed, where videos go; folded away, sampler, discretization, guider, approximations, engine."""

import secrets

import streamlit as st

from img2vid import paths
from img2vid.inference import MEMORY_PLANS, MOST_THREADS, PRECISIONS, PROVIDERS
from img2vid.settings import APPROXIMATIONS, PARAMS, approximated, label_of
from img2vid.ui import resources
from img2vid.ui.sample.model import is_requested
from img2vid.ui.shared.controls import control, row, select
from img2vid.ui.state import PageState, after_entry, callback_state, report_errors, set_widget, widget_value
from img2vid.version_defaults import reset

DICE = 1_000_000
"""Seeds that the dice throws lie below this: enough of them, and short enough to be read and told."""
DEVICES = ("auto", "cpu", "cuda", "mps")
ON_THE_PAGE = ("max_scale", "scale")
"""Parameters of guiders that stand on the page, as in the reference demo."""


def sidebar(page: PageState) -> None:
    """Draws all of it."""
    row(page, ("height", "width", "num_frames"))
    _seed(page)
    _saving(page)
    _group(page, "Sampler", "sampler")
    _group(page, "Discretization", "discretization")
    _group(page, "Guider", "guider")
    _approximations(page)
    _engine(page)
    st.button(
        f"Defaults of {page.version.name}",
        key="defaults",
        icon=":material/restart_alt:",
        type="tertiary",
        help="Sets every control back; the input, the seed and the folder stay.",
        on_click=after_entry(_reset),
    )


def random_seed() -> int:
    """A seed that nobody can foresee."""
    return secrets.randbelow(DICE)


def _seed(page: PageState) -> None:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        control(page, "seed")
        st.button("Dice", key="dice", icon=":material/casino:", help="Another seed, by chance", on_click=_throw_dice)


def _throw_dice() -> None:
    page = callback_state()
    with report_errors(page):
        page.set(seed=random_seed())


def _saving(page: PageState) -> None:
    st.checkbox(
        "Save images locally",
        set_widget("save_locally", page.tab.save_locally, False),
        key="save_locally",
        help="Puts the video, its first frame and its settings into a folder of your choice. Switched off, the page "
        "still shows it: it is then kept among the program's own files. Default: on.",
        on_change=_keep_saving,
    )
    if page.tab.save_locally:
        st.text_input(
            "Save path",
            set_widget("save_path", page.tab.save_path, ""),
            key="save_path",
            placeholder=str(paths.home() / page.version.name),
            help="The folder for videos; it is made if need be. Left empty, it is the one shown in grey.",
            on_change=_keep_saving,
        )


def _keep_saving() -> None:
    page = callback_state()
    with report_errors(page):
        page.tab.save_locally = widget_value("save_locally")
        path = widget_value("save_path")
        if path is not None:
            page.tab.save_path = path.strip()
        page.save()


def _group(page: PageState, title: str, choice: str) -> None:
    """A choice and its parameters; the expander's title names what was chosen."""
    chosen: str = page.tab.controls[choice]
    with st.expander(title, key=f"{choice}_group"):
        control(page, choice)
        for name in PARAMS[chosen]:
            if name not in ON_THE_PAGE:
                control(page, name)


def _approximations(page: PageState) -> None:
    """What is faster than the exact result and not the same; the title names what is switched on."""
    on = ", ".join(label_of(name) for name in approximated(page.tab.controls))
    with st.expander(f"Approximations: {on}" if on else "Approximations", key="approximations_group"):
        st.caption("Faster, and not the same video. docs/approximations.md has what each saves and costs.")
        for name in APPROXIMATIONS:
            control(page, name)


def _engine(page: PageState) -> None:
    choice = page.tab.choice
    with st.expander("Engine, precision, memory", key="engine_group"):
        _of_choice("Engine", "provider", PROVIDERS, choice.provider, _ENGINE_HELP)
        _of_choice("Device", "device", DEVICES, choice.device, _DEVICE_HELP)
        _of_choice("Precision", "precision", PRECISIONS, choice.precision, _PRECISION_HELP)
        _of_choice("Decoder precision", "decoder_precision", PRECISIONS, choice.decoder_precision, _DECODER_HELP)
        _of_choice("Memory", "memory", MEMORY_PLANS, choice.memory, _MEMORY_HELP)
        st.number_input(
            "Processor threads",
            min_value=0,
            max_value=MOST_THREADS,
            value=set_widget("threads", choice.threads, "min"),
            key="threads",
            help=_THREADS_HELP,
            on_change=_keep_choice,
            args=("threads",),
        )
        _switch("Compile", "compile", choice.compile, _COMPILE_HELP)
        _switch("Allow .ckpt files", "allow_pickle", choice.allow_pickle, _PICKLE_HELP)
        control(page, "watermark")
        for name, host, device in resources.open_service().workers():
            st.caption(f"{name} on {host}, {device}")


_ENGINE_HELP = (
    "Who computes: native is img2vid's own engine, sgm the reference package where it is installed; auto is native."
)
_DEVICE_HELP = "Where it is computed; auto is the graphics card where torch sees one, else the processor."
_PRECISION_HELP = "Number format of the network; auto is fp32 on a processor, else fp16, which needs half the memory."
_DECODER_HELP = "Number format of the decoder, which makes frames of what was sampled; auto is fp32, the most exact."
_MEMORY_HELP = (
    "What lies in the graphics card's memory: resident is the whole model, the fastest; stages is the part at work, "
    "blocks one piece of the network after the other, for small cards. The video is the same. auto takes the first "
    "that fits into what is free."
)
_THREADS_HELP = (
    "How many threads of the processor compute; 0 lets torch choose, one for each core. Fewer are faster where other "
    "programs keep cores busy. A graphics card hardly minds."
)
_COMPILE_HELP = (
    "Lets torch build the network for this machine: the first video waits minutes for it, later ones are made faster. "
    "Default: off."
)
_PICKLE_HELP = "Also reads checkpoints in the older .ckpt form, as weights alone. Default: off."


def _of_choice(label: str, name: str, options: tuple[str, ...], value: str, help_text: str) -> None:
    known = options if value in options else (*options, value)
    select(label, known, value, name, help_text, _keep_choice, name)


def _switch(label: str, name: str, value: bool, help_text: str) -> None:
    default = set_widget(name, value, False)
    st.checkbox(label, default, key=name, help=help_text, on_change=_keep_choice, args=(name,))


def _keep_choice(name: str) -> None:
    page = callback_state()
    with report_errors(page):
        service = resources.open_service()
        page.set_choice(**{name: widget_value(name)})
        if is_requested(service.store.model(), page.version):
            service.load(page.version.name, page.tab.choice)


def _reset() -> None:
    page = callback_state()
    with report_errors(page):
        page.set(**reset(page.tab.controls, page.version))
