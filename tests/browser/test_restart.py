"""Waiting jobs resume with the program, before any browser opens a page."""

from pathlib import Path

from dashboard import Dashboard, until

from img2vid import paths
from img2vid.jobs.job import State
from img2vid.options import LoadOptions
from img2vid.versions import find_version


def test_waiting_jobs_resume_without_a_browser(tmp_path: Path) -> None:
    dashboard = Dashboard(tmp_path / "home", tmp_path / "checkpoints")
    dashboard.home.mkdir()
    settings = find_version("svd_tiny").settings({"height": 64, "width": 64, "num_frames": 3, "num_steps": 2})
    picture = (paths.PROJECT / "assets" / "dogs.jpg").read_bytes()
    store = dashboard.store()
    job = store.add(settings, LoadOptions(device="cpu"), picture, "dogs", ".jpg")
    try:
        dashboard.start()
        until(lambda: store.job(job.id).state.ended, "the end of the waiting job")
    finally:
        dashboard.stop()
    done = store.job(job.id)
    assert (done.state, done.error, len(done.results)) == (State.DONE, "", 1)
    assert "Traceback" not in dashboard.messages() and "ScriptRunContext" not in dashboard.messages()
