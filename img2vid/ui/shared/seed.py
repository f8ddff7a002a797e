"""Seed: its field, and random seeds on request or for each run."""

import secrets
from dataclasses import dataclass

import streamlit as st

from img2vid.ui.shared.controls import draw_field, tab_field
from img2vid.ui.shared.fields import problem_box
from img2vid.ui.state import PageState, callback, set_widget, widget_value

DICE = 1_000_000
"""Exclusive upper limit of random seeds, low enough to be easy to read and share."""
SEED = "seed"
"""Name of the stored state of the seed."""


@dataclass(frozen=True)
class Seed:
    """Stored state of the seed."""

    randomize: bool = False


def random_seed() -> int:
    """Return a random seed below DICE."""
    return secrets.randbelow(DICE)


def seed_box(page: PageState) -> None:
    """Draw the seed with Dice, and whether Sample draws a random seed."""
    seed = tab_field(page, "seed")
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        draw_field(page, seed)
        st.button("Dice", key="dice", icon=":material/casino:", help="Random seed", on_click=_roll_dice)
    problem_box(page, seed)
    st.checkbox(
        "Randomize seed each run",
        set_widget("randomize", randomizes(page), False),
        key="randomize",
        help="Sample sets a random seed first. Default: off.",
        on_change=_randomize,
    )


def randomizes(page: PageState) -> bool:
    """Return whether Sample sets a random seed first."""
    return page.stored(SEED, Seed).randomize


@callback("sample")
def _randomize(page: PageState) -> None:
    page.keep(SEED, randomize=bool(widget_value("randomize")))


@callback("sample")
def _roll_dice(page: PageState) -> None:
    page.set(seed=random_seed())
