"""`img2vid sample` with an active service: its jobs run there, with the same output as without one."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from job_client import PHOTO, Client, until
from processes import IN_OWN_GROUP, interrupt

from img2vid import inference
from img2vid.cli import main, sample
from img2vid.errors import BadInput, Img2VidError
from img2vid.jobs import wait
from img2vid.jobs.job import Job, State
from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store
from img2vid.progress import Event, ignore

SMALL = ["--height", "64", "--width", "64", "--num-frames", "3", "--num-steps", "2", "--device", "cpu"]
# Enough work for minutes, so that a run that does not stop is detected.
LONG = ["--num-frames", "14", "--num-steps", "1000", "--device", "cpu"]


@dataclass(frozen=True)
class Said:
    code: int
    out: list[str]
    err: list[str]


@pytest.fixture
def at_home(client: Client, monkeypatch: pytest.MonkeyPatch) -> Client:
    """Return the command line in the home of the service, unable to load a model itself."""
    monkeypatch.setenv("IMG2VID_HOME", str(client.store.home))
    monkeypatch.setattr(inference, "load", lambda *arguments: pytest.fail("the model was loaded in this process"))
    return client


@pytest.fixture
def command(at_home: Client, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> Said:
        code = main.run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Said(code, out.splitlines(), err.splitlines())

    return run


# In this process, with the tests' service


def test_pictures_become_videos_on_the_service(command, at_home: Client, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    for name in ("a", "c"):
        shutil.copy(PHOTO, tmp_path / "pictures" / f"{name}.jpg")
    (tmp_path / "pictures" / "b.jpg").write_bytes(PHOTO.read_bytes()[:2000])
    said = command("sample", "pictures", *SMALL, "--num-samples", 2, "--out", "videos", "--animation", "gif")
    assert said.code == 2
    assert said.err[-1].startswith(f"img2vid: 1 of 3 pictures failed: {Path('pictures/b.jpg')} (it is damaged")
    stems = [f"videos/{name}_svd_tiny_seed{seed}" for name in "ac" for seed in (23, 24)]
    assert said.out == [str(Path(f"{stem}.mp4")) for stem in stems]
    assert all(
        Path(stem).with_suffix(suffix).is_file() for stem in stems for suffix in (".mp4", ".png", ".json", ".gif")
    )
    jobs = at_home.store.jobs(limit=2)
    assert [(job.picture_name, job.state, len(job.results)) for job in jobs] == [
        ("c", State.DONE, 2),
        ("a", State.DONE, 2),
    ]


def test_a_job_that_fails_does_not_cancel_the_others(command, at_home: Client) -> None:
    for name in ("broken", "photo"):
        shutil.copy(PHOTO, f"{name}.jpg")
    said = command("sample", "broken.jpg", "gone.jpg", "photo.jpg", *SMALL, "--seed", 77)
    assert said.code == 1
    assert [Path(line).name for line in said.out] == ["photo_svd_tiny_seed77.mp4"]
    assert said.err[-1].startswith("img2vid: 2 of 3 pictures failed: gone.jpg (no such file or folder; check")
    assert "broken.jpg (failed with ZeroDivisionError: one by nothing)" in said.err[-1]


def test_json_is_what_it_is_without_a_service(command, at_home: Client) -> None:
    said = command("sample", PHOTO, *SMALL, "--json")
    assert (said.code, said.err) == (0, [])
    (row,) = map(json.loads, said.out)
    assert Path(row["video"]).parent == at_home.store.home
    assert json.loads(Path(row["settings_file"]).read_text(encoding="utf-8"))["settings"] == row["settings"]
    assert (row["settings"]["num_steps"], row["device"]) == (2, "cpu")
    assert row["seconds"] > 0


def test_deviations_are_reported(command, tmp_path: Path) -> None:
    shutil.copy(PHOTO, tmp_path / "stingy.jpg")
    said = command("sample", "stingy.jpg", *SMALL, "--num-frames", 5)
    assert (said.code, len(said.out)) == (0, 1)
    assert said.err == ["img2vid: stingy: decode_t was halved to 2, because memory ran out"]


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        (["--version", "svd_xt"], 2, "the checkpoint of svd_xt is missing"),
        (["--device", "cuda:7"], 2, "cuda"),
        (["--provider", "magic"], 2, "provider must be one of auto, native, sgm, got 'magic'"),
        (["--num-steps", "0"], 2, "num_steps must be a whole number from 1 to 1000, got '0'"),
    ],
)
def test_what_fails_is_one_sentence_with_the_same_code(command, options: list[str], code: int, sentence: str) -> None:
    said = command("sample", PHOTO, *SMALL, *options)
    assert (said.code, said.out, len(said.err)) == (code, [], 1)
    assert said.err[0].startswith("img2vid: ")
    assert sentence in said.err[0]


def test_events_are_shown_from_waiting_to_writing(at_home: Client, service: JobService) -> None:
    running = at_home.stand_in("gated")
    at_home.at(running, "sample")
    job = at_home.photo(num_steps=20)
    events: list[Event] = []

    def on_event(event: Event) -> None:
        events.append(event)
        at_home.open_gate()

    results: list[object] = []
    done = wait.wait_for_job(service, job, on_event, results.append)
    assert tuple(results) == done.results
    assert done.state is State.DONE
    stages = list(dict.fromkeys(event.stage for event in events))
    assert stages[0] == "wait"
    assert "sample" in stages
    assert {*stages} <= {*sample.STAGES}


def ended(client: Client, state: State, error: str = "", error_type: str = "") -> Job:
    """Return a job that the service has not seen."""
    job = client.stand_in("quick")
    client.store.start(job.id)
    client.store.finish(job.id, state, error, error_type)
    return job


@pytest.mark.parametrize(
    ("state", "error_type", "kind"),
    [
        (State.FAILED, "CheckpointError", BadInput),
        (State.FAILED, "OutOfMemory", Img2VidError),
        (State.FAILED, "ZeroDivisionError", Img2VidError),
        (State.FAILED, "Path", Img2VidError),
        (State.CANCELLED, "", Img2VidError),
    ],
)
def test_a_job_that_did_not_end_well_is_an_error(tmp_path: Path, state: State, error_type: str, kind: type) -> None:
    client = Client(Store(tmp_path / "img2vid.sqlite"), tmp_path)
    job = ended(client, state, "what happened", error_type)
    with pytest.raises(kind, match="the job was cancelled" if state is State.CANCELLED else "what happened") as caught:
        wait.wait_for_job(JobService(client.store), job, ignore, lambda result: None)
    assert isinstance(caught.value, BadInput) == (kind is BadInput)


def test_an_interrupted_job_goes_on_once(tmp_path: Path) -> None:
    client = Client(Store(tmp_path / "img2vid.sqlite"), tmp_path)
    job = ended(client, State.INTERRUPTED, "the program ended")

    def interrupt(event: Event) -> None:
        for again in client.store.queue():
            client.store.start(again.id)
            client.store.finish(again.id, State.INTERRUPTED, "the program ended again")

    with pytest.raises(Img2VidError, match="the program ended again"):
        wait.wait_for_job(JobService(client.store), job, interrupt, lambda result: None)
    assert client.store.job(job.id).state is State.INTERRUPTED


def test_a_scheduler_that_never_answers_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wait, "GIVE_UP", 0.0)
    monkeypatch.setattr(JobService, "failure", lambda self: "the scheduler tcp://nowhere:1 does not answer")
    client = Client(Store(tmp_path / "img2vid.sqlite"), tmp_path)
    job = client.stand_in("quick")
    service = JobService(client.store)
    with pytest.raises(Img2VidError, match="tcp://nowhere:1 does not answer"), wait.cancelling(service, [job]):
        wait.wait_for_job(service, job, ignore, lambda result: None)
    assert client.store.job(job.id).state is State.CANCELLED


# As a subprocess


def started(client: Client, *arguments: object) -> "subprocess.Popen[str]":
    environment = {**os.environ, "IMG2VID_HOME": str(client.store.home)}
    command = [sys.executable, "-m", "img2vid", "sample", *map(str, arguments), "--out", str(client.folder / "videos")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, env=environment, **pipes, **IN_OWN_GROUP)


def newest(client: Client, name: str) -> Job:
    """Return the job of a process that was just started."""
    return until(lambda: next((job for job in client.store.jobs(5) if job.picture_name == name), None), f"job {name}")


def test_ctrl_c_cancels_the_jobs_of_the_command(client: Client, tmp_path: Path) -> None:
    for name in ("first", "second"):
        shutil.copy(PHOTO, tmp_path / f"{name}.jpg")
    with started(client, tmp_path / "first.jpg", tmp_path / "second.jpg", *LONG) as process:
        try:
            first, second = newest(client, "first"), newest(client, "second")
            client.at(first, "sample", 1)
            interrupt(process)
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "img2vid: stopped; finished videos are kept"
    assert [client.end(job).state for job in (first, second)] == [State.CANCELLED] * 2  # running until its step ends
    assert client.files() == []


HOLDER = """
import sys, time
from pathlib import Path
from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store
import stand_ins
JobService(Store(Path(sys.argv[1])), make=stand_ins.make, get_worker_info=stand_ins.get_worker_info).start()
time.sleep(600)
"""


@pytest.mark.takes_long("two dashboards and their workers start")
def test_a_command_whose_dashboard_is_killed_goes_on_by_itself(tmp_path: Path) -> None:
    client = Client(Store(tmp_path / "home" / "img2vid.sqlite"), tmp_path)
    shutil.copy(PHOTO, tmp_path / "held.jpg")
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(client.store.path)]) as dashboard:
        try:
            until(lambda: wait.is_held(client.store.home))
            process = started(client, tmp_path / "held.jpg", *SMALL)
            client.at(newest(client, "held"), "sample", 2)
        finally:
            dashboard.kill()
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err) == (0, "")
    assert out == f"{tmp_path / 'videos' / 'held_svd_tiny_seed23.mp4'}\n"
    assert len(client.files()) == 3
    assert [(job.state, job.attempts) for job in client.store.jobs()] == [(State.DONE, 2)]
