"""The page at several window sizes, in light and dark mode, and without a mouse."""

import pytest
from dashboard import Dashboard
from playwright.sync_api import Locator, expect
from visitor import OVERHANG, PHOTO, SMALL, Visit

TO_BOTTOM = """
(field) => {
    const main = document.querySelector('.stMain')
    main.scrollTop += field.getBoundingClientRect().bottom - main.getBoundingClientRect().bottom
}
"""
"""JavaScript: scrolls until the field is at the bottom of the window, behind the bar with Sample."""
COVERED = """
(field) => field.getBoundingClientRect().bottom - document.querySelector('.st-key-start').getBoundingClientRect().top
"""
"""JavaScript: pixels of the field that the bar covers."""
SHIFT_MAX = 60
"""Number of Tab presses after which a control counts as unreachable."""

SHIFTS = """
() => {
    window.shifts = []
    new PerformanceObserver((list) => {
        for (const entry of list.getEntries()) {
            if (entry.hadRecentInput) continue
            const names = entry.sources.map(({ node }) => node?.outerHTML?.slice(0, 120) ?? node?.textContent)
            window.shifts.push([entry.value, names.join(' ; ')])
        }
    }).observe({ type: 'layout-shift' })
}
"""
"""JavaScript: records what moves without the user's doing, as Chromium's score of each shift and the elements."""
MOST_SHIFT = 0.1
"""Cumulative layout shift that web.dev calls good."""


def test_nothing_moves_from_sample_to_the_second_result(visit: Visit, dashboard: Dashboard) -> None:
    visitor = visit().ready_with({**SMALL, "seed": 801, "steps": 4})
    visitor.page.set_viewport_size({"width": 1280, "height": 720})
    visitor.page.evaluate(SHIFTS)
    stage = visitor.page.locator(".st-key-stage")
    size = stage.bounding_box()
    for seed in (801, 802):
        visitor.set({"seed": seed})
        dashboard.hold("sample", 2)
        visitor.press("Sample")
        visitor.wait_for_step(2, 4)
        expect(stage.get_by_role("img", name="Preview of the video in progress")).to_be_visible()
        assert stage.bounding_box() == size
        visitor.picture(f"stage_running_{seed}")
        dashboard.release()
        visitor.wait_for_result(seed)
        expect(stage.locator("video")).to_be_visible()
        expect(stage.get_by_role("progressbar")).to_have_count(0)
        assert stage.bounding_box() == size
    visitor.picture("stage_result")
    shifts = visitor.page.evaluate("window.shifts")
    assert sum(score for score, _ in shifts) < MOST_SHIFT, shifts


def test_sample_and_cancel_are_in_every_window(visit: Visit) -> None:
    visitor = visit().ready_with({"motion bucket id": 300})  # with a warning beside the buttons
    main = visitor.page.get_by_test_id("stMain")
    for width, height in ((1920, 1080), (1280, 720), (820, 1180), (390, 844), (390, 500)):
        visitor.page.set_viewport_size({"width": width, "height": height})
        for end in (0, 1_000_000):
            main.evaluate("(main, top) => main.scrollTo(0, top)", end)
            for label in ("Sample", "Cancel"):
                expect(visitor.button(label)).to_be_in_viewport(ratio=1)
        # The bar hides nothing at the end of the page.
        last = visitor.page.locator(".st-key-outcome")
        if width > 1000:
            last = visitor.number("Decode t frames at a time")
        bar, above = visitor.page.locator(".st-key-start").bounding_box(), last.bounding_box()
        assert bar and above and above["y"] + above["height"] <= bar["y"]
        visitor.picture(f"window_{width}x{height}")
    visitor.set({"motion bucket id": 127})


def test_a_phone_shows_a_problem_below_its_field_and_the_run_after_sample(visit: Visit, dashboard: Dashboard) -> None:
    visitor = visit().ready_with({**SMALL, "seed": 811, "steps": 4})
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    visitor.number("motion bucket id").fill("999")
    visitor.number("motion bucket id").press("Enter")
    problem = visitor.page.locator(".st-key-problem_motion_bucket_id")
    expect(problem).to_be_visible()
    visitor.picture("phone_problem")
    labels = ("fps", "motion bucket id", "Conditioning augmentation")
    before, field, after = (top(visitor.number(label)) for label in labels)
    assert before < field < top(problem) < after
    visitor.press("Use 511")
    expect(problem).to_have_count(0)

    stage = visitor.page.locator(".st-key-stage")
    visitor.page.get_by_test_id("stMain").evaluate("main => main.scrollTo(0, 0)")
    expect(stage).not_to_be_in_viewport()
    dashboard.hold("sample", 2)
    visitor.press("Sample")
    expect(stage).to_be_in_viewport(ratio=0.99)
    visitor.wait_for_step(2, 4)
    visitor.picture("phone_running")
    dashboard.release()
    visitor.wait_for_result(811)
    expect(stage.locator("video")).to_be_in_viewport(ratio=0.9)


def top(element: Locator) -> float:
    """Return an element's distance from the top of the window."""
    box = element.bounding_box()
    assert box is not None
    return box["y"]


def test_narrow_fields_have_their_steppers(visit: Visit) -> None:
    visitor = visit()
    for width in (1920, 1280, 820):
        visitor.page.set_viewport_size({"width": width, "height": 900})
        for label in ("H", "W", "T", "seed", "fps", "motion bucket id", "Conditioning augmentation"):
            field = visitor.page.get_by_test_id("stNumberInput").filter(has=visitor.number(label))
            expect(field.get_by_test_id("stNumberInputStepUp")).to_be_visible()


def test_the_bar_with_sample_shows_all_its_text(visit: Visit) -> None:
    visitor = visit().ready_with({})
    bar = visitor.page.locator(".st-key-start")
    for width in (1920, 1280, 820, 390):
        visitor.page.set_viewport_size({"width": width, "height": 844})
        assert bar.evaluate("bar => bar.scrollHeight - bar.clientHeight") <= 0


@pytest.mark.parametrize("colors", ["light", "dark"])
def test_a_narrow_window_needs_no_sideways_scrolling(visit: Visit, colors: str) -> None:
    visitor = visit()
    visitor.page.emulate_media(color_scheme="dark" if colors == "dark" else "light")
    visitor.page.set_viewport_size({"width": 400, "height": 800})
    visitor.reload()
    visitor.drop(path=PHOTO)
    expect(visitor.input).to_be_visible()
    visitor.picture(f"window_narrow_{colors}")
    field = visitor.number("motion bucket id")
    field.evaluate(TO_BOTTOM)
    field.focus()
    assert field.evaluate(COVERED) <= 0
    assert visitor.page.evaluate(OVERHANG) == 0


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
