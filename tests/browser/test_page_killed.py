"""`kill -9` of the dashboard, and of its worker, during a job: finished work survives."""

import re

import pytest
from dashboard import Dashboard, until
from playwright.sync_api import expect
from visitor import SMALL, Visit

from img2vid.jobs.job import State
from img2vid.media.videos import read_frames


@pytest.mark.parametrize(
    ("stage", "numbers", "with_worker"),
    [
        ("sample", {**SMALL, "steps": 4}, True),
        ("decode", {**SMALL, "Decode t frames at a time": 1}, False),
    ],
    ids=["sample, worker too", "decode"],
)
def test_nothing_is_lost_when_the_dashboard_is_killed(
    visit: Visit, dashboard: Dashboard, stage: str, numbers: dict[str, int], with_worker: bool
) -> None:
    """If both are killed, the worker is first, so that the dashboard may be about to retry the job."""
    finished = {"sample": 11, "decode": 21}[stage] + 30 * with_worker
    interrupted = finished + 1
    visitor = visit().ready_with({**SMALL, "seed": finished})
    visitor.press("Sample")
    visitor.wait_for_result(finished)
    visitor.set({**numbers, "seed": interrupted})
    dashboard.hold(stage, 2)
    visitor.press("Sample")

    store = dashboard.store()
    job = until(lambda: next(iter(store.jobs(states=[State.RUNNING])), None), "the start of the job")
    until(lambda: (now := store.progress(job.id)) and now.stage == stage and now.step >= 2, f"the stage {stage}")
    visitor.expects_to_lose_the_server = True
    if with_worker:
        dashboard.worker().kill()
    dashboard.kill()
    dashboard.release()
    assert store.job(job.id).state is State.RUNNING
    assert not list(dashboard.home.rglob(f"*seed{interrupted}*"))  # results are written atomically

    dashboard.start()
    visitor.reload()
    visitor.wait_for("The program ended while the job was running; run it again.")
    visitor.wait_for_result(finished)
    visitor.played()
    kept = visitor.text("Sampling is finished and saved. Run again only decodes the video.")
    expect(kept).to_have_count(1 if stage == "decode" else 0)
    visitor.picture(f"killed_in_{stage}")
    for label, value in {**numbers, "seed": interrupted}.items():
        expect(visitor.number(label)).to_have_value(str(value))

    visitor.press("Run again")
    visitor.wait_for_result(interrupted)
    visitor.played()
    expect(visitor.text("The program ended while the job was running")).to_have_count(0)
    expect(visitor.button(f"seed {finished}")).to_be_visible()
    visitor.picture(f"killed_in_{stage}_run_again")
    again, old = store.jobs(limit=2)
    assert (again.state, old.state, again.settings) == (State.DONE, State.INTERRUPTED, old.settings)
    assert len(list(read_frames(again.results[0].video))) == numbers["T"]


def test_an_open_tab_comes_back_by_itself_and_what_waits_goes_on(visit: Visit, dashboard: Dashboard) -> None:
    dashboard.hold("sample", 2)
    visitor = visit().ready_with({**SMALL, "seed": 91, "steps": 4})
    visitor.press("Sample")
    visitor.wait_for_step(2, 4)
    visitor.set({"seed": 92, "steps": 2})
    visitor.press("Sample")
    visitor.wait_for("Queue: 1 waiting")
    visitor.expects_to_lose_the_server = True
    dashboard.kill()
    dashboard.release()
    dashboard.start()
    visitor.wait_for(re.compile("seed 91: The program ended while the job was running"))
    visitor.wait_for_result(92)
    expect(visitor.number("seed")).to_have_value("92")
    visitor.picture("killed_tab_came_back")
    visitor.press("Dismiss")
    expect(visitor.text("The program ended while the job was running")).to_have_count(0)
    visitor.reload()
    visitor.wait_for_result(92)
    expect(visitor.text("The program ended while the job was running")).to_have_count(0)
