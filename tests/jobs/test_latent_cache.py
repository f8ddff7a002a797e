"""Latent cache: latents outlive a failed run until their video exists, and match only their own model and settings."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from job_client import CPU, PHOTO, small

from img2vid import inference, pipeline
from img2vid.engine import decode_latents
from img2vid.errors import OutOfMemory
from img2vid.inference import LoadedModel
from img2vid.jobs.latent_cache import (
    KEPT,
    CachedLatents,
    LatentCache,
    pack,
    unpack,
)
from img2vid.jobs.worker import RenderRequest, Reporter, WorkerRuntime
from img2vid.media.pictures import load_picture
from img2vid.options import LoadOptions
from img2vid.progress import Result
from img2vid.settings import SampleSettings
from img2vid.versions import find_version

LATENTS = np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2)


# Blobs and keys


@given(arrays(np.float32, array_shapes(min_dims=4, max_dims=4, max_side=4)), st.text(max_size=30))
def test_a_packet_gives_back_exactly_what_was_packed(latents: Any, made_by: str) -> None:
    made_by = made_by.rstrip("\0")  # numpy strips trailing zero bytes from strings
    np.testing.assert_array_equal(unpack(pack(latents, made_by), made_by), latents)


def test_a_packet_of_another_model_or_a_damaged_one_gives_nothing() -> None:
    blob = pack(LATENTS, "svd native")
    assert unpack(blob, "svd sgm") is None
    for damaged in (b"", b"no packet", blob[:-40], blob[:60]):
        assert unpack(damaged, "svd native") is None


# The cache


def test_the_cache_keeps_the_newest(tmp_path: Path) -> None:
    cache = LatentCache(tmp_path)
    for number in range(KEPT + 3):
        cache.put(f"{number:032}", bytes([number]))
        os.utime(tmp_path / "latents" / f"{number:032}.npz", (number, number))
    assert [cache.get(f"{number:032}") for number in range(4)] == [b"", b"", b"", b"\3"]
    assert len(list((tmp_path / "latents").iterdir())) == KEPT
    assert cache.has(f"{5:032}")
    cache.drop(f"{5:032}")
    assert not cache.has(f"{5:032}")
    cache.drop(f"{5:032}")


def test_a_disk_that_takes_nothing_stops_no_run(tmp_path: Path) -> None:
    (tmp_path / "latents").write_text("a file where the folder was", encoding="utf-8")
    cache = LatentCache(tmp_path)
    cache.put("0" * 32, b"packet")
    assert (cache.get("0" * 32), cache.has("0" * 32)) == (b"", False)


# A run that starts with decoding


def test_a_run_that_fails_in_decoding_is_taken_up_there_and_gives_the_same_video(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import img2vid.engine as engine

    version = find_version("svd_tiny")
    model, photo = inference.load(version, CPU), load_picture(PHOTO)
    stored = CachedLatents(LatentCache(tmp_path), model, CPU, "0" * 64)
    stages: list[str] = []

    def run(folder: str, decode_t: int) -> Result:
        stages.clear()
        settings = small(decode_t=decode_t)
        on_event = lambda event: stages.append(event.stage)  # noqa: E731
        results = pipeline.run(
            model, photo, settings, tmp_path / folder, name="photo", latent_store=stored, on_event=on_event
        )
        return next(results)

    def none_is_left(*arguments: Any) -> Any:
        raise OutOfMemory("memory ran out")

    monkeypatch.setattr(engine, "decode_latents", none_is_left)
    with pytest.raises(OutOfMemory):
        run("failed", 1)
    assert "sample" in stages
    monkeypatch.setattr(engine, "decode_latents", decode_latents)
    again = run("again", 3)
    assert "sample" not in stages
    assert again.notice == "reused latents that an earlier attempt sampled"
    stored.drop(SampleSettings(**again.metadata["settings"]))
    fresh = run("fresh", 3)
    assert "sample" in stages
    assert fresh.notice == ""
    assert again.video.read_bytes() == fresh.video.read_bytes()


def test_a_worker_sends_what_it_sampled_and_takes_it_back(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[dict[str, Any]] = []
    bench = WorkerRuntime()

    def make(latents: bytes, seed: int = 23) -> Any:
        sent.clear()
        request = RenderRequest("job", "topic", small(seed=seed), CPU, PHOTO.read_bytes(), "photo", None, latents)
        return bench.make(request, Reporter("job", sent.append, lambda: True))

    def blobs() -> list[dict[str, Any]]:
        return [event for event in sent if event["kind"] == "latents"]

    first = make(b"")
    (told,) = blobs()
    assert (told["task"], told["seed"]) == ("job", 23)
    again = make(told["blob"])
    assert blobs() == []
    assert "sample" not in again.stages
    assert again.files == first.files
    # A replaced model, such as a new file of that name, samples again.
    monkeypatch.setattr(inference, "made_by", lambda model: "another file")
    other = make(told["blob"])
    assert len(blobs()) == 1
    assert other.made is not None and other.made.notice == ""
    assert other.files == first.files


def test_which_model_it_is_depends_on_its_file(tmp_path: Path) -> None:
    checkpoint = tmp_path / "own.safetensors"
    checkpoint.write_bytes(b"weights")
    os.utime(checkpoint, (1, 1))

    def told(**changes: Any) -> str:
        options = LoadOptions(**{"provider": "native", "device": "cpu", "precision": "fp32", **changes})
        model: Any = None
        return inference.made_by(LoadedModel(model, find_version("svd_tiny"), options, checkpoint))

    before = told()
    assert told() == before
    others = [{"provider": "sgm"}, {"device": "cuda"}, {"precision": "bf16"}, {"compile": True}]
    assert len({before, *(told(**changes) for changes in others)}) == 5
    assert told(decoder_precision="fp16") == told(memory="stages") == before, "latents do not depend on these"
    os.utime(checkpoint, (2, 2))
    assert told() != before
    checkpoint.unlink()  # the model in memory stays usable
    assert told() != told()
