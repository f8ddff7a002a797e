"""Rejected values at their fields, sizes to choose from, random seeds, and the Basic view."""

import re

from dashboard import Dashboard, until
from playwright.sync_api import Locator, expect
from visitor import OVERHANG, Visit, Visitor


def field(visitor: Visitor, label: str, text: str) -> Locator:
    """Type into a number field, leave it with Tab and return it."""
    box = visitor.number(label)
    box.fill(text)
    box.press("Tab")
    return box


def test_each_rejected_value_is_explained_at_its_field(visit: Visit, dashboard: Dashboard) -> None:
    visitor, jobs = visit().ready_with({"steps": 2}), dashboard.store().jobs()
    sample = visitor.button("Sample")
    for label, text, reason, nearest in (
        ("T", "500", "T must be a whole number from 1 to 128 (frames), got 500.", "128"),
        ("W", "1000", "W must be a multiple of 16 for svd_tiny, got 1000.", "992"),
        ("motion bucket id", "999", "motion bucket id must be a whole number from 0 to 511, got 999.", "511"),
        ("Conditioning augmentation", "-1", "Conditioning augmentation must be a number from 0 to 10, got -1.", "0"),
        ("fps", "", "fps must be a whole number from 1 to 1000 (frames per second); the field is empty.", "6"),
        ("seed", "9" * 20, f"seed must be a whole number from 0 to 4294967295, got {'9' * 20}.", "4294967295"),
    ):
        box = field(visitor, label, text)
        visitor.wait_for(reason)
        expect(sample).to_be_disabled()
        expect(box).to_have_value("" if label == "seed" else text)
        expect(visitor.page.locator(".st-key-start")).to_contain_text(reason[1:])
        if label == "T":
            visitor.picture("field_rejected")
        visitor.press(f"Use {nearest}")
        expect(box).to_have_value(nearest)
        expect(sample).to_be_enabled()

    field(visitor, "T", "0")
    expect(sample).to_be_disabled()
    visitor.reload()
    expect(visitor.number("T")).to_have_value("128")
    expect(sample).to_be_enabled()

    box = field(visitor, "T", "6.7")
    visitor.wait_for("T must be a whole number from 1 to 128 (frames), got 6.7.")
    visitor.press("Use 7")
    expect(box).to_have_value("7")
    field(visitor, "T", "1e2")
    until(lambda: visitor.kept()["num_frames"] == 100, "T 100")
    expect(box).to_have_value("100")
    expect(sample).to_be_enabled()

    # Typed and pressed at once, without leaving the field first.
    visitor.number("T").fill("")
    sample.click()
    visitor.wait_for("T must be a whole number from 1 to 128 (frames); the field is empty.")
    visitor.press("Use 100")
    expect(box).to_have_value("100")
    visitor.number("T").fill("129")
    sample.click()
    visitor.wait_for("T must be a whole number from 1 to 128 (frames), got 129.")
    assert dashboard.store().jobs() == jobs


def test_a_first_video_in_the_basic_view_on_a_phone(visit: Visit, dashboard: Dashboard) -> None:
    visitor = visit().ready_with({"T": 3, "steps": 2, "H": 96, "W": 160, "fps": 6, "seed": 23, "motion bucket id": 127})
    visitor.page.get_by_role("radio", name="Basic").click()
    expect(visitor.number("fps")).to_have_count(0)
    visitor.page.set_viewport_size({"width": 390, "height": 844})
    visitor.reload()
    expect(visitor.number("fps")).to_have_count(0)
    assert visitor.page.evaluate(OVERHANG) == 0
    visitor.wait_for(re.compile(r"Also set: T 3, .*steps 2\."))

    expect(visitor.input).to_be_visible()
    visitor.choose("Size", re.compile("^Match picture"))
    until(lambda: visitor.kept()["height"] > visitor.kept()["width"], "an upright size")
    visitor.press("Swap")
    until(lambda: visitor.kept()["height"] < visitor.kept()["width"], "a wide size")
    visitor.choose("Size", "128 \u00d7 128")
    visitor.tick("Randomize seed each run")
    bar = visitor.page.locator(".st-key-start")
    expect(bar).to_contain_text("128 \u00d7 128, 3 frames, random seed")
    visitor.picture("basic_phone")
    visitor.press("Sample")
    (job,) = until(lambda: dashboard.store().jobs(), "a job")
    assert (job.settings.width, job.settings.height, job.settings.num_frames) == (128, 128, 3)
    visitor.wait_for_result(job.settings.seed)
    expect(visitor.number("seed")).to_have_value(str(job.settings.seed))
    visitor.page.get_by_role("radio", name="All settings").click()
    expect(visitor.number("fps")).to_be_visible()
