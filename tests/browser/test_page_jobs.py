"""Jobs in a browser: cancelled, from two tabs, with a change of version, and with a killed worker."""

import re
import shutil

from dashboard import Dashboard, until
from playwright.sync_api import expect
from visitor import NAMES, SMALL, Visit

from img2vid import paths
from img2vid.jobs.job import State

STEPS = 4


def test_cancel_stops_within_a_step_and_the_next_run_is_made(visit: Visit, dashboard: Dashboard) -> None:
    dashboard.hold("sample", 1)
    visitor = visit().ready_with({**SMALL, "seed": 1, "steps": STEPS})
    visitor.press("Sample")
    visitor.wait_for_step(1, STEPS)
    visitor.picture("cancel_before")
    visitor.press("Cancel")
    visitor.wait_for("dogs, seed 1: cancelled.")
    expect(visitor.text("Sampling, step")).to_have_count(0)
    expect(visitor.button("Cancel")).to_be_disabled()
    expect(visitor.page.locator(".st-key-result").get_by_text("seed 1 ·")).to_have_count(0)
    visitor.picture("cancel_after")
    dashboard.release()
    cancelled = dashboard.store().jobs()[0]
    assert (cancelled.state, cancelled.results) == (State.CANCELLED, ())

    visitor.set({**SMALL, "seed": 2})
    visitor.press("Sample")
    visitor.wait_for_result(2)
    visitor.played()
    assert [job.state for job in dashboard.store().jobs(limit=2)] == [State.DONE, State.CANCELLED]


def test_values_typed_quickly_are_not_lost(visit: Visit, dashboard: Dashboard) -> None:
    """Values typed faster than the page reruns are stored, even without Enter before Sample."""
    visitor = visit().ready_with({**SMALL})
    typed = {"seed": 3, "fps": 8, "motion bucket id": 77, "steps": 4, "Decode t frames at a time": 2}
    for label, value in typed.items():
        visitor.number(label).fill(str(value))
    visitor.press("Sample")
    visitor.wait_for_result(3)
    settings = dashboard.store().jobs()[0].settings.model_dump()
    assert {label: settings[NAMES[label]] for label in typed} == typed


def test_two_tabs_share_the_queue_and_keep_their_own_controls(visit: Visit, dashboard: Dashboard) -> None:
    dashboard.hold("sample", 1)
    one = visit().ready_with({**SMALL, "seed": 11, "steps": STEPS, "fps": 7, "motion bucket id": 127})
    one.press("Sample")
    one.wait_for_step(1, STEPS)
    two = visit()
    assert two.tab != one.tab
    expect(two.number("fps")).to_have_value("7")  # a new tab starts as a copy of the last one
    expect(two.input).to_be_visible()
    two.wait_for(re.compile("Sampling, step"))
    two.set({"seed": 12, "steps": 2, "fps": 9, "motion bucket id": 30})
    two.press("Sample")
    for visitor in (one, two):
        visitor.wait_for("Queue: 1 waiting")
    one.picture("two_tabs_first")
    two.picture("two_tabs_second")
    dashboard.release()
    for visitor in (one, two):
        visitor.wait_for_result(12)
        expect(visitor.button("seed 11")).to_be_enabled()
    two.press("seed 11")
    two.wait_for_result(11)
    one.wait_for_result(12)
    for visitor, values in ((one, ("11", str(STEPS), "7", "127")), (two, ("12", "2", "9", "30"))):
        visitor.reload()
        for label, value in zip(("seed", "steps", "fps", "motion bucket id"), values, strict=True):
            expect(visitor.number(label)).to_have_value(value)
    two.wait_for_result(11)
    jobs = {job.settings.seed: job.settings for job in dashboard.store().jobs(limit=2)}
    assert {seed: (job.num_steps, job.fps, job.motion_bucket_id) for seed, job in jobs.items()} == {
        11: (STEPS, 7, 127),
        12: (2, 9, 30),
    }


def test_another_version_is_loaded_when_the_running_job_is_done(visit: Visit, dashboard: Dashboard) -> None:
    if not (paths.PROJECT / "checkpoints" / "svd_tiny_xt.safetensors").is_file():
        tiny = paths.PROJECT / "checkpoints" / "svd_tiny.safetensors"
        shutil.copy(tiny, dashboard.checkpoints / "svd_tiny_xt.safetensors")
    dashboard.hold("sample", 1)
    visitor = visit().ready_with({**SMALL, "seed": 21, "steps": STEPS})
    if not visitor.box("Load Model").is_checked():
        visitor.tick("Load Model")
    expect(visitor.box("Load Model")).to_be_checked()
    visitor.press("Sample")
    visitor.wait_for_step(1, STEPS)
    visitor.choose("Model Version", "svd_tiny_xt")
    visitor.wait_for("svd_tiny_xt loads when the current job ends.")
    expect(visitor.number("T")).to_have_value("25")
    expect(visitor.text(re.compile("Sampling, step"))).to_be_visible()
    visitor.picture("switch_while_running")
    dashboard.release()
    visitor.wait_for_result(21)
    visitor.wait_for(re.compile("svd_tiny_xt on CPU, .+, ready"))
    expect(visitor.box("Load Model")).to_be_checked()
    visitor.picture("switch_done")
    job = dashboard.store().jobs()[0]
    assert (job.settings.version, job.settings.num_frames, job.state) == ("svd_tiny", 3, State.DONE)
    visitor.tick("Load Model")
    visitor.wait_for("No model loaded. It loads when you press Sample.")
    expect(visitor.box("Load Model")).not_to_be_checked()


def test_a_job_whose_worker_is_killed_finishes_by_itself(visit: Visit, dashboard: Dashboard) -> None:
    visitor = visit()
    visitor.choose("Model Version", "svd_tiny")
    dashboard.hold("sample", 2)
    visitor.ready_with({**SMALL, "seed": 31, "steps": STEPS})
    visitor.press("Sample")
    visitor.wait_for_step(2, STEPS)
    worker = dashboard.worker()
    worker.kill()
    dashboard.release()
    until(lambda: dashboard.store().jobs()[0].notice, "a word about the lost worker")
    visitor.picture("worker_killed")
    visitor.wait_for_result(31)
    visitor.played()
    visitor.wait_for("The worker was lost in the stage 'sample'")
    visitor.picture("worker_killed_result")
    assert dashboard.worker() != worker
    job = dashboard.store().jobs()[0]
    assert (job.state, job.attempts, job.error) == (State.DONE, 2, "")


def test_a_reload_in_the_middle_of_a_run_disturbs_nothing(visit: Visit, dashboard: Dashboard) -> None:
    numbers = {**SMALL, "seed": 501, "motion bucket id": 90, "steps": STEPS, "Decode t frames at a time": 1}
    dashboard.hold("sample", 2)
    visitor = visit().ready_with(numbers)
    tab = visitor.tab
    visitor.press("Sample")
    visitor.wait_for_step(2, STEPS)
    visitor.reload()
    assert visitor.tab == tab
    visitor.wait_for(re.compile("Sampling, step 2 of"))
    visitor.picture("reload_while_running")
    for label, value in numbers.items():
        expect(visitor.number(label)).to_have_value(str(value))
    expect(visitor.choice("Model Version")).to_have_value("svd_tiny")
    expect(visitor.input).to_be_visible()
    dashboard.release()
    visitor.wait_for_result(501)
    visitor.played()
    visitor.picture("reload_result")
    job = dashboard.store().jobs()[0]
    assert (job.state, job.settings.seed, job.attempts) == (State.DONE, 501, 1)
