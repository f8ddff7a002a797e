"""Responses of the API."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from img2vid import paths
from img2vid.jobs.job import Job, State
from img2vid.jobs.store import Store
from img2vid.options import LoadOptions
from img2vid.progress import Event
from img2vid.settings import SampleSettings
from img2vid.text_to_image.settings import PARAMETERS, ImageSettings
from img2vid.text_to_image.versions import find_image_version
from img2vid.versions import find_version
from img2vid.web import api, events
from img2vid.web.events import progress_events

PHOTO = paths.PROJECT / "assets" / "dandelion.jpg"


def tiny(**values: Any) -> SampleSettings:
    """Return svd_tiny's settings with some values replaced."""
    return find_version("svd_tiny").settings(values)


@pytest.fixture
def client(app: FastAPI) -> TestClient:
    return TestClient(app, base_url="http://localhost")


def test_a_picture_becomes_a_job_with_the_given_settings(client: TestClient, store: Store) -> None:
    query = {"name": "C:/my/Dandelion.jpg", "seed": 7, "sampler": "DPMPP2MSampler", "watermark": "false", "threads": 2}
    response = client.post("/jobs", params=query, content=PHOTO.read_bytes())
    assert response.status_code == 201
    (made,) = store.queue()
    assert made.settings == tiny(seed=7, sampler="DPMPP2MSampler", watermark=False)
    assert (made.options, made.picture_name) == (LoadOptions(threads=2), "Dandelion")
    assert made.picture.read_bytes() == PHOTO.read_bytes()
    view = response.json()
    assert (view["id"], view["state"], view["videos"]) == (made.id, "waiting", [])
    assert view["settings"] == made.settings.model_dump()


@pytest.mark.parametrize("animate", [False, True])
def test_a_prompt_becomes_pictures_and_a_video(
    client: TestClient, store: Store, sdxl: Path, monkeypatch: pytest.MonkeyPatch, animate: bool
) -> None:
    monkeypatch.setenv("IMG2VID_CHECKPOINTS", str(sdxl))
    words = {"prompt": "a  lighthouse", "negative_prompt": "text", "image_model": "tiny_sdxl", "candidates": 2}
    numbers = {"image_seed": 9, "image_steps": 2, "image_guidance": 1.5}
    video = {"seed": 7, "height": 64, "width": 128, "watermark": "false", "threads": 2, "animate": animate}
    response = client.post("/prompts", params={**words, **numbers, **video})
    assert response.status_code == 201
    first, *others = store.queue()
    width, height = find_image_version("tiny_sdxl").size_for(128, 64)
    expected = {"prompt": "a lighthouse", "negative_prompt": "text", "model": "tiny_sdxl", "seed": 9, "steps": 2}
    size = {"width": width, "height": height, "guidance": 1.5, "candidates": 2, "watermark": False}
    assert (first.image, first.options) == (ImageSettings(**expected, **size), LoadOptions(threads=2))
    assert [(job.continues, job.image) for job in others] == [(first.id, None)] * animate
    assert all(job.settings == tiny(seed=7, height=64, width=128, watermark=False) for job in others)
    assert [row["id"] for row in response.json()] == [job.id for job in (first, *others)]
    assert [row["kind"] for row in response.json()] == ["image", "video"][: 1 + animate]


NOT_MADE: dict[str, tuple[dict[str, Any], int, str]] = {
    "no prompt": ({}, 422, "the parameter prompt is missing"),
    "empty": ({"prompt": " "}, 400, "there is no prompt"),
    "long": ({"prompt": "x" * 2001}, 422, "prompt: String should have at most 2000 characters"),
    "limit": ({"prompt": "x", "image_steps": 500}, 422, "image_steps must be a whole number from 1 to 150, got '500'"),
    "model": ({"prompt": "x", "image_model": "sd15"}, 400, "there is no image model 'sd15'"),
    "video": ({"prompt": "x", "width": 100}, 400, "width must be a multiple of 16"),
    "parameter": ({"prompt": "x", "name": "a"}, 422, "there is no parameter 'name'"),
    "missing file": ({"prompt": "x"}, 400, "sd_xl_base_1.0"),
}


@pytest.mark.parametrize("case", list(NOT_MADE))
@pytest.mark.usefixtures("sdxl")
def test_an_invalid_prompt_is_refused_in_a_sentence(client: TestClient, store: Store, case: str) -> None:
    query, status, text = NOT_MADE[case]
    response = client.post("/prompts", params=query)
    assert (response.status_code, text in response.json()["detail"]) == (status, True)
    assert not store.queue()


def test_missing_packages_are_named_with_the_command(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("img2vid.remedies.find_spec", lambda name: None)
    response = client.post("/prompts", params={"prompt": "a dog"})
    assert (response.status_code, "--with text" in response.json()["detail"]) == (400, True)


REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "setting": ({"seed": "x"}, 422, "seed must be a whole number from 0 to 4294967295, got 'x'"),
    "limit": ({"num_frames": 900}, 422, "num_frames must be a whole number from 1 to 128 (frames), got '900'"),
    "parameter": ({"colour": "red"}, 422, "there is no parameter 'colour'"),
    "version": ({"version": "svd9"}, 400, "there is no model version 'svd9'"),
    "size": ({"width": 100}, 400, "width must be a multiple of 16 for svd_tiny, got 100; try 96"),
    "checkpoint": ({"version": "sv3d_p"}, 400, "the checkpoint of sv3d_p is missing"),
    "option": ({"threads": 9999}, 400, "threads must be a whole number from 0 to 1024"),
    "levels": (
        {"discretization": "ListDiscretization", "sigmas": "1,2"},
        400,
        "sigmas must be at least two falling numbers, got 1 2",
    ),
    "choice": ({"memory": "much"}, 422, "memory: Input should be"),
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_an_invalid_request_is_refused_in_a_sentence(client: TestClient, store: Store, case: str) -> None:
    query, status, text = REFUSED[case]
    response = client.post("/jobs", params=query, content=PHOTO.read_bytes())
    assert (response.status_code, text in response.json()["detail"]) == (status, True)
    assert not store.queue()


def test_a_body_that_is_no_picture_is_refused(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    for content in (b"", b"hello"):
        response = client.post("/jobs", content=content)
        assert (response.status_code, "image" in response.json()["detail"]) == (400, True)
    monkeypatch.setattr(api, "MOST_BYTES", 2**20)
    response = client.post("/jobs", content=b"x" * (2**20 + 1))
    assert response.json()["detail"] == "the picture must have at most 1 MB; send a smaller one"


def test_jobs_are_listed_newest_first_and_by_state(client: TestClient, job: Job, done: Job) -> None:
    assert [row["id"] for row in client.get("/jobs").json()] == [done.id, job.id]
    assert [row["id"] for row in client.get("/jobs?limit=1").json()] == [done.id]
    assert [row["id"] for row in client.get("/jobs?state=waiting&state=running").json()] == [job.id]
    assert client.get("/jobs?state=lost").status_code == 422


def test_a_finished_job_gives_its_video(client: TestClient, done: Job) -> None:
    view = client.get(f"/jobs/{done.id}").json()
    video = done.results[0].video
    assert (view["state"], view["error"]) == ("done", "")
    assert view["videos"] == [{"number": 1, "seed": 5, "seconds": 12.0, "path": str(video)}]
    response = client.get(f"/jobs/{done.id}/videos/1")
    assert (response.headers["content-type"], response.content) == ("video/mp4", video.read_bytes())
    part = client.get(f"/jobs/{done.id}/videos/1", headers={"Range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, b"ftyp")
    video.unlink()
    for number in (1, 2):
        missing = client.get(f"/jobs/{done.id}/videos/{number}")
        assert (missing.status_code, missing.json()["detail"]) == (404, f"the job {done.id} has no video {number}")


def test_the_picture_of_a_prompt_is_served(client: TestClient, store: Store) -> None:
    image = ImageSettings(prompt="a dog", height=64, width=64)
    made = store.add_image(image, SampleSettings(), LoadOptions())
    store.start(made.id)
    store.record_picture(made.id, store.keep_picture(PHOTO.read_bytes(), ".png").name, "fingerprint")
    view = client.get(f"/jobs/{made.id}").json()
    assert (view["kind"], view["image"], view["videos"]) == ("image", image.model_dump(), [])
    (path,) = map(Path, view["pictures"])
    response = client.get(f"/jobs/{made.id}/pictures/1")
    assert (response.headers["content-type"], response.content) == ("image/png", path.read_bytes())
    for missing in (f"/jobs/{made.id}/pictures/2", f"/jobs/{made.id}/videos/1"):
        assert client.get(missing).status_code == 404


def test_a_job_is_cancelled_and_an_ended_one_stays(client: TestClient, job: Job, done: Job, store: Store) -> None:
    assert client.post(f"/jobs/{job.id}/cancel").json()["state"] == "cancelled"
    assert client.post(f"/jobs/{done.id}/cancel").json()["state"] == "done"
    store.start(running := store.resubmit(done.id).id)
    assert client.post(f"/jobs/{running}/cancel").json()["state"] == "running"
    assert store.to_cancel() == {running}


@pytest.mark.parametrize(
    ("method", "path"), [("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("GET", "/videos/1")]
)
def test_an_unknown_job(client: TestClient, method: str, path: str) -> None:
    response = client.request(method, f"/jobs/{'0' * 16}{path}")
    assert (response.status_code, [*response.json()]) == (404, ["detail"])
    assert client.request(method, f"/jobs/..%2Fx{path}").status_code in (404, 422)


def test_a_failed_disk_is_an_error_of_the_server(client: TestClient, job: Job, store: Store) -> None:
    store.close()
    store.path.write_bytes(b"damaged" * 1000)
    response = client.get(f"/jobs/{job.id}")
    assert (response.status_code, [*response.json()]) == (500, ["detail"])


def parsed(text: str) -> tuple[str, dict[str, Any]]:
    kind, data = text.strip().split("\n")
    return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))


def test_progress_is_sent_at_each_change_and_the_job_at_the_end(
    job: Job, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "POLL", 0.001)

    async def follow() -> list[tuple[str, dict[str, Any]]]:
        stream: AsyncIterator[str] = progress_events(store, job.id)
        found = [parsed(await anext(stream))]
        store.start(job.id)
        found.append(parsed(await anext(stream)))
        for step in (1, 2):
            store.record_progress(job.id, Event("sample", step, 25, seconds_left=3.0))
            found.append(parsed(await anext(stream)))
        store.finish(job.id, State.FAILED, "memory ran out")
        return found + [parsed(text) async for text in stream]

    found = asyncio.run(follow())
    assert [kind for kind, _ in found] == [*["progress"] * 5, "end"]
    steps = [(row["state"], row["stage"], row["step"]) for _, row in found[:5]]
    running = [("running", "", 0), ("running", "sample", 1), ("running", "sample", 2)]
    assert steps == [("waiting", "", 0), *running, ("failed", "", 0)]
    assert (found[-1][1]["id"], found[-1][1]["error"]) == (job.id, "memory ran out")


def test_a_silent_job_keeps_the_connection_alive(job: Job, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "POLL", 0.001)
    monkeypatch.setattr(events, "KEEP_ALIVE", 0.003)

    async def follow() -> list[str]:
        stream = progress_events(store, job.id)
        return [await anext(stream) for _ in range(3)]

    assert asyncio.run(follow())[1:] == [": still running\n\n"] * 2


def test_a_store_that_fails_ends_the_events(job: Job, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "POLL", 0.001)

    async def follow() -> list[str]:
        stream = progress_events(store, job.id)
        first = await anext(stream)
        store.close()
        store.path.write_bytes(b"damaged" * 1000)
        return [first] + [text async for text in stream]

    kind, problem = parsed(asyncio.run(follow())[-1])
    assert (kind, [*problem]) == ("problem", ["detail"])


def test_the_events_of_an_ended_job_end_at_once(client: TestClient, done: Job) -> None:
    response = client.get(f"/jobs/{done.id}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    parts = response.text.strip().split("\n\n")
    assert [parsed(part)[0] for part in parts] == ["progress", "end"]


def test_every_setting_and_option_is_a_parameter_with_its_limits(app: FastAPI) -> None:
    parameters = {row["name"]: row for row in app.openapi()["paths"]["/jobs"]["post"]["parameters"]}
    assert parameters.keys() == {"name", *SampleSettings.model_fields, *vars(LoadOptions())}
    of_prompt = {row["name"] for row in app.openapi()["paths"]["/prompts"]["post"]["parameters"]}
    assert of_prompt == {*parameters, "prompt", "animate", *PARAMETERS.values()} - {"name"}
    seed = next(kind for kind in parameters["seed"]["schema"]["anyOf"] if kind["type"] == "integer")
    assert (seed["minimum"], seed["maximum"]) == (0, 2**32 - 1)


def test_no_page_loads_scripts_from_elsewhere(client: TestClient) -> None:
    assert [client.get(path).status_code for path in ("/docs", "/redoc")] == [404, 404]
    assert client.get("/openapi.json").json()["openapi"].startswith("3.1")


def test_pictures_are_stored_once(client: TestClient, store: Store, tmp_path: Path) -> None:
    for seed in (1, 2):
        client.post("/jobs", params={"seed": seed}, content=PHOTO.read_bytes())
    assert len(list((store.home / "inputs").iterdir())) == 1
