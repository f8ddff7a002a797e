"""Jobs from queue to disk with a real local cluster of one worker."""

import io
import json
import socket
import ssl
import time
from pathlib import Path

import psutil
import pytest
from job_client import CPU, PHOTO, Client, cluster_processes, small, until, worker_processes
from PIL import Image

from img2vid import inference, pipeline
from img2vid.errors import BadInput, CheckpointError
from img2vid.jobs.job import Job, State
from img2vid.jobs.peaks import expected_peak
from img2vid.jobs.service import JobService
from img2vid.jobs.store import Store
from img2vid.media.pictures import load_picture
from img2vid.media.videos import read_frames, read_metadata
from img2vid.options import LoadOptions
from img2vid.progress import Event
from img2vid.versions import find_version


def names(jobs: list[Job]) -> list[str]:
    return [job.picture_name for job in jobs]


# From picture to video


@pytest.mark.usefixtures("one_thread")
def test_a_photo_becomes_the_video_that_the_pipeline_makes(client: Client, tmp_path: Path) -> None:
    job = client.end(client.photo())
    assert (job.state, job.attempts, job.error, job.notice) == (State.DONE, 1, "", "")
    (result,) = job.results
    assert client.files() == [f"photo_svd_tiny_seed23.{suffix}" for suffix in ("json", "mp4", "png")]
    assert (result.video.parent, result.animation, result.seed) == (client.folder / "videos", None, 23)
    assert result.seconds > 0
    assert json.loads(result.sidecar.read_text(encoding="utf-8")) == result.metadata == read_metadata(result.video)
    assert result.metadata["picture_sha256"] == job.picture.stem
    assert (expected_peak(client.store, job.settings, job.options) or 0) > 50_000_000
    model = inference.load(find_version("svd_tiny"), CPU)
    (here,) = pipeline.run(model, load_picture(PHOTO), job.settings, tmp_path / "here", name="photo")
    assert (read_frames(here.video) == read_frames(result.video)).all()


def test_events_have_stage_step_noise_level_time_memory_and_preview(client: Client) -> None:
    client.end(client.photo())  # from now on the time of such a video can be estimated
    job = client.photo(num_steps=30, decode_t=1)
    seen: list[Event] = []
    while not client.store.job(job.id).state.ended:
        progress = client.store.progress(job.id)
        if progress is not None and progress not in seen:
            seen.append(progress)
        time.sleep(0.01)
    assert client.store.job(job.id).state is State.DONE
    sampling = [progress for progress in seen if progress.stage == "sample" and progress.step > 0]
    assert len(sampling) > 3
    for progress in sampling:
        assert (progress.total, progress.video, progress.videos) == (30, 1, 1)
        assert progress.sigma is not None
        assert progress.seconds_left is not None
        assert progress.memory > 50_000_000
    assert [progress.step for progress in sampling] == sorted(progress.step for progress in sampling)
    sigmas = [progress.sigma or 0.0 for progress in sampling]
    assert sigmas == sorted(sigmas, reverse=True)
    elapsed = [progress.elapsed for progress in seen]
    assert elapsed == sorted(elapsed)
    with Image.open(io.BytesIO(sampling[-1].preview)) as preview:
        assert (preview.format, getattr(preview, "n_frames", 1), preview.size) == ("GIF", 3, (16, 16))
    assert client.store.progress(job.id) is None


def test_several_videos_of_one_job_come_one_after_the_other(client: Client) -> None:
    job = client.stand_in("gated", num_samples=3, seed=5)
    assert client.at(job, "sample").videos == 3
    assert client.store.job(job.id).results == ()
    client.open_gate()
    done = client.end(job)
    assert [result.seed for result in done.results] == [5, 6, 7]
    assert client.files()[::3] == ["gated_seed5.json", "gated_seed6.json", "gated_seed7.json"]
    assert done.attempts == 1


def test_an_animation_lies_beside_the_video(client: Client) -> None:
    (result,) = client.end(client.stand_in("quick", animation="gif")).results
    assert result.animation == result.video.with_suffix(".gif")
    assert result.video.with_suffix(".gif").read_bytes() == b"animation"


def test_a_video_never_replaces_another_one(client: Client) -> None:
    first, second = client.end(client.stand_in("quick")), client.end(client.stand_in("quick"))
    assert [job.results[0].video.name for job in (first, second)] == ["quick_seed23.mp4", "quick_seed23_2.mp4"]


def test_a_video_whose_folder_is_gone_is_kept_in_the_home(client: Client) -> None:
    (client.folder / "videos").write_text("a file where the folder was", encoding="utf-8")
    job = client.end(client.stand_in("quick"))
    (result,) = job.results
    assert job.state is State.DONE
    assert result.video.parent == client.store.home / "kept"
    assert result.video.read_bytes() == b"video"
    assert job.notice.startswith(f"nothing can be written to {client.folder / 'videos'}")
    assert job.notice.endswith(f"so the video was saved in {client.store.home / 'kept'}")


# The queue


def test_jobs_run_in_the_order_of_the_queue_which_can_be_changed(client: Client, service: JobService) -> None:
    running = client.stand_in("gated-0")
    client.at(running, "sample")
    jobs = {name: client.stand_in(f"quick-{name}") for name in "abcd"}
    assert names(client.store.queue()) == ["quick-a", "quick-b", "quick-c", "quick-d"]
    service.move(jobs["d"].id, 0)
    service.move(jobs["a"].id, 2)
    service.cancel(jobs["c"].id)
    assert names(client.store.queue()) == ["quick-d", "quick-b", "quick-a"]
    client.open_gate()
    for name in "abd":
        assert client.end(jobs[name]).state is State.DONE
    assert client.runs() == ["gated-0", "quick-d", "quick-b", "quick-a"]
    assert client.store.job(jobs["c"].id).state is State.CANCELLED


def test_an_emptied_queue_leaves_the_running_job_alone(client: Client, service: JobService) -> None:
    running = client.stand_in("gated")
    client.at(running, "sample")
    waiting = [client.stand_in("quick") for _ in range(3)]
    assert service.clear_queue() == 3
    client.open_gate()
    assert client.end(running).state is State.DONE
    assert {client.store.job(job.id).state for job in waiting} == {State.CANCELLED}
    assert client.runs() == ["gated"]


# Cancelling


def test_a_running_job_is_cancelled_and_leaves_nothing(client: Client, service: JobService) -> None:
    job = client.photo(num_steps=1000, num_frames=14)
    client.at(job, "sample", 2)
    service.cancel(job.id)
    cancelled = client.end(job)
    assert (cancelled.state, cancelled.error, cancelled.results) == (State.CANCELLED, "", ())
    assert client.files() == []
    assert client.end(client.photo()).state is State.DONE


def test_what_was_finished_before_the_cancelling_stays(client: Client, service: JobService) -> None:
    job = client.photo(num_samples=10)
    until(lambda: client.store.job(job.id).results)
    service.cancel(job.id)
    cancelled = client.end(job)
    assert cancelled.state is State.CANCELLED
    assert 1 <= len(cancelled.results) < 10
    assert all(result.video.is_file() for result in cancelled.results)


def test_a_job_may_be_cancelled_from_a_store_of_another_process(client: Client) -> None:
    job = client.stand_in("gated")
    client.at(job, "sample")
    Store(client.store.path).cancel(job.id)
    assert client.end(job).state is State.CANCELLED


# Failures


def test_memory_that_runs_out_in_decoding_halves_decode_t(client: Client) -> None:
    job = client.end(client.photo("stingy", num_frames=5, decode_t=5))
    assert (job.state, job.notice) == (State.DONE, "decode_t was halved to 2, because memory ran out")
    assert job.results[0].metadata["settings"]["decode_t"] == 2
    assert len(read_frames(job.results[0].video)) == 5


def test_an_unexpected_exception_is_reported_with_details(client: Client) -> None:
    job = client.end(client.stand_in("broken"))
    assert (job.state, job.error_type) == (State.FAILED, "ZeroDivisionError")
    assert job.error == "failed with ZeroDivisionError: one by nothing"


def test_bad_input_that_only_the_worker_sees_is_one_sentence(client: Client) -> None:
    job = client.end(client.photo(options=LoadOptions(device="cuda:7")))
    assert (job.state, job.error_type, job.details) == (State.FAILED, "BadInput", "")
    assert "cuda" in job.error


def test_a_missing_picture_is_reported(client: Client, service: JobService) -> None:
    client.at(client.stand_in("gated"), "sample")
    job = client.store.add(small(), CPU, b"a picture of its own", "photo", ".jpg")
    job.picture.unlink()
    client.open_gate()
    failed = client.end(job)
    assert (failed.state, failed.error_type) == (State.FAILED, "BadInput")
    assert failed.error.startswith(f"the picture {job.picture} can no longer be read")


def test_what_cannot_run_is_refused_at_once(service: JobService, tmp_path: Path) -> None:
    photo = PHOTO.read_bytes()
    before = service.store.jobs(limit=1)
    with pytest.raises(BadInput, match="'notes' is not a supported image"):
        service.submit([(small(), CPU)], b"no picture", "notes", ".txt")
    with pytest.raises(CheckpointError, match="the checkpoint of svd_xt is missing"):
        service.submit([(find_version("svd_xt").settings({}), CPU)], photo, "photo", ".jpg")
    with pytest.raises(BadInput, match="height must be a multiple of 16"):
        service.submit([(small().model_copy(update={"height": 100}), CPU)], photo, "photo", ".jpg")
    (tmp_path / "file").touch()
    with pytest.raises(BadInput, match="nothing can be written"):
        service.submit([(small(), CPU)], photo, "photo", ".jpg", folder=tmp_path / "file")
    assert service.store.jobs(limit=1) == before


# Models


def test_a_model_is_loaded_and_unloaded_on_request(client: Client, service: JobService) -> None:
    service.unload()
    until(lambda: client.store.model().state == "none")
    service.load("svd_tiny", CPU)
    ready = until(lambda: client.store.model() if client.store.model().state == "ready" else None)
    assert (ready.version, ready.provider, ready.device, ready.precision) == ("svd_tiny", "native", "cpu", "fp32")
    assert ready.done == ready.total > 1_000_000
    assert ready.memory > 0
    assert (ready.wanted, ready.wanted_version) == (True, "svd_tiny")
    service.unload()
    none = until(lambda: client.store.model() if client.store.model().state == "none" else None)
    assert (none.version, none.wanted, none.wanted_version) == ("", False, "")


def test_a_job_loads_the_model_that_it_needs_in_place_of_the_other(client: Client) -> None:
    assert client.end(client.photo()).state is State.DONE
    assert client.store.model().version == "svd_tiny"
    other = client.end(client.photo(version="svd_tiny_xt"))
    assert (other.state, other.results[0].metadata["checkpoint"]) == (State.DONE, "svd_tiny_xt.safetensors")
    assert (client.store.model().version, client.store.model().state) == ("svd_tiny_xt", "ready")


def test_loading_another_model_never_disturbs_a_running_job(client: Client, service: JobService) -> None:
    client.end(client.photo())
    job = client.stand_in("gated")
    client.at(job, "sample")
    service.load("svd_tiny_xt", CPU)
    waiting = client.stand_in("quick")
    step = client.at(job, "sample").step
    client.at(job, "sample", step + 5)
    assert (client.store.model().version, client.store.model().wanted_version) == ("svd_tiny", "svd_tiny_xt")
    client.open_gate()
    assert client.end(job).state is client.end(waiting).state is State.DONE
    until(lambda: (client.store.model().version, client.store.model().state) == ("svd_tiny_xt", "ready"))


def test_a_model_that_cannot_be_loaded_is_reported(service: JobService, client: Client) -> None:
    with pytest.raises(CheckpointError, match="the checkpoint of svd_xt is missing"):
        service.load("svd_xt", CPU)
    service.load("svd_tiny", LoadOptions(device="cuda:7"))
    failed = until(lambda: client.store.model() if client.store.model().state == "failed" else None)
    assert "cuda" in failed.error
    service.unload()
    until(lambda: client.store.model().state == "none")


# The cluster


def test_the_service_knows_its_workers(client: Client, service: JobService) -> None:
    client.end(client.stand_in("quick"))
    assert service.status() is None
    ((name, host, device),) = service.workers()
    assert (name, host != "", device) == ("local", True, "CPU")


def test_the_cluster_is_reached_over_the_loopback_alone_and_only_with_the_key(client: Client) -> None:
    """Access to a worker allows running any program as its user."""
    client.end(client.stand_in("quick"))
    processes = [*cluster_processes(), *worker_processes()]
    assert len(processes) == 2
    listening = [
        connection.laddr
        for process in processes
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening
    assert {address.ip for address in listening} == {"127.0.0.1"}
    for address in listening:
        if answer(address.port, encrypted=False)[:12] != b"HTTP/1.1 404":  # Dask's web server without routes
            assert answer(address.port, encrypted=False) == answer(address.port, encrypted=True) == b""


def answer(port: int, encrypted: bool) -> bytes:
    """Return the response of a port to an unauthenticated client."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with socket.create_connection(("127.0.0.1", port), timeout=10) as plain:
        try:
            speaker = context.wrap_socket(plain) if encrypted else plain
            speaker.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
            return speaker.recv(100)
        except (ssl.SSLError, ConnectionError):
            return b""
