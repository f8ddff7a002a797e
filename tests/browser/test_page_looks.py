"""The page at several window sizes, in light and dark mode, and without a mouse."""

import pytest
from playwright.sync_api import expect
from visitor import OVERHANG, PHOTO, Visit

SHIFT_MAX = 60
"""Number of Tab presses after which a control counts as unreachable."""


def test_a_common_window_shows_all_steps_to_a_video(visit: Visit) -> None:
    visitor = visit().ready_with({})
    visitor.page.set_viewport_size({"width": 1280, "height": 720})
    for label in ("Sample", "Cancel"):
        expect(visitor.button(label)).to_be_in_viewport(ratio=1)
    visitor.picture("window_1280x720")


@pytest.mark.parametrize("colors", ["light", "dark"])
def test_a_narrow_window_needs_no_sideways_scrolling(visit: Visit, colors: str) -> None:
    visitor = visit()
    visitor.page.emulate_media(color_scheme="dark" if colors == "dark" else "light")
    visitor.page.set_viewport_size({"width": 400, "height": 800})
    visitor.reload()
    visitor.drop(path=PHOTO)
    expect(visitor.input).to_be_visible()
    visitor.picture(f"window_narrow_{colors}")
    assert visitor.page.evaluate(OVERHANG) == 0
    visitor.button("Sample").scroll_into_view_if_needed()
    expect(visitor.button("Sample")).to_be_in_viewport(ratio=1)
    visitor.picture(f"window_narrow_{colors}_sample")


def test_dark_colors(visit: Visit) -> None:
    visitor = visit()
    visitor.page.emulate_media(color_scheme="dark")
    visitor.reload()
    visitor.drop(path=PHOTO)
    expect(visitor.input).to_be_visible()
    visitor.picture("window_dark")
    background = visitor.page.evaluate("() => getComputedStyle(document.querySelector('.stApp')).backgroundColor")
    assert background == "rgb(23, 25, 27)"


def test_sample_is_reachable_with_the_keyboard(visit: Visit) -> None:
    visitor = visit().ready_with({})
    visitor.choice("Model Version").focus()
    reached: list[str] = []
    for _ in range(SHIFT_MAX):
        visitor.page.keyboard.press("Tab")
        name = visitor.page.evaluate(
            "() => document.activeElement.getAttribute('aria-label') || document.activeElement.innerText"
        )
        reached.append(str(name).split("\n")[-1].strip())
        if reached[-1] == "Sample":
            break
    assert reached[-1] == "Sample", reached
    assert {"Load Model", "fps", "motion bucket id", "Decode t frames at a time"} <= {*reached}
    assert [name for name in reached if not name] == []
