"""Pipeline from picture and settings to files: events, retries, and files left after a stop."""

import json
import mmap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from watermark_reader import has_watermark

from img2vid import inference, pipeline
from img2vid.errors import BadInput, Cancelled, CheckpointError, ConfigError, MediaError, OutOfMemory
from img2vid.inference import LoadedModel
from img2vid.media.pictures import load_picture
from img2vid.media.videos import read_frames, read_metadata
from img2vid.options import LoadOptions
from img2vid.paths import PROJECT
from img2vid.pipeline import Result
from img2vid.progress import Event, ignore
from img2vid.settings import SampleSettings
from img2vid.versions import ModelVersion

CPU = LoadOptions(device="cpu")
SMALL = {"height": 64, "width": 64, "num_frames": 3, "num_steps": 2}
STAGES = ["condition", "sample", "decode", "write"]


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def model(tiny: ModelVersion) -> LoadedModel:
    return inference.load(tiny, CPU)


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return load_picture(PROJECT / "assets" / "dandelion.jpg")


Make = Callable[..., list[Result]]


@pytest.fixture
def make(model: LoadedModel, photo: Image.Image, tmp_path: Path) -> Make:
    """Return a function that makes videos with small settings in the test's folder."""

    def run(
        folder: str = "",
        on_event: Callable[[Event], None] = ignore,
        animation: str | None = None,
        **changes: Any,
    ) -> list[Result]:
        settings = model.version.settings({**SMALL, **changes})
        target = tmp_path / folder
        return list(pipeline.run(model, photo, settings, target, name="photo", animation=animation, on_event=on_event))

    return run


@pytest.fixture(scope="module")
def plain(model: LoadedModel, photo: Image.Image, tmp_path_factory: pytest.TempPathFactory) -> Result:
    """Return the video of the small settings."""
    folder = tmp_path_factory.mktemp("plain")
    return next(pipeline.run(model, photo, model.version.settings(SMALL), folder, name="photo"))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_run_writes_video_first_frame_and_settings_under_one_name(make: Make, tmp_path: Path) -> None:
    (result,) = make()
    assert names(tmp_path) == [f"photo_svd_tiny_seed23.{suffix}" for suffix in ("json", "mp4", "png")]
    frames = read_frames(result.video)
    assert frames.shape == (3, 64, 64, 3)
    with Image.open(result.still) as still:
        differences = [np.abs(np.asarray(still).astype(float) - frame).mean() for frame in frames]
    assert differences[0] < 0.7 * min(differences[1:]), "the still is not the first frame"


def test_video_and_sidecar_carry_all_settings(make: Make, tiny: ModelVersion) -> None:
    (result,) = make(motion_bucket_id=90, saving_fps=7.5)
    metadata = read_metadata(result.video)
    assert metadata == json.loads(result.sidecar.read_text(encoding="utf-8")) == result.metadata
    assert SampleSettings(**metadata["settings"]) == tiny.settings({**SMALL, "motion_bucket_id": 90, "saving_fps": 7.5})
    expected = {
        "picture": "photo",
        "checkpoint": "svd_tiny.safetensors",
        "provider": "native",
        "device": "cpu",
        "precision": "fp32",
        "decoder_precision": "fp32",
        "memory": "resident",
        "compile": False,
        "threads": 0,
    }
    assert {name: metadata[name] for name in expected} == expected


def test_the_settings_in_a_video_make_it_again(make: Make) -> None:
    (first,) = make("first", seed=5, sampler="EulerAncestralSampler")
    (again,) = make("again", **read_metadata(first.video)["settings"])
    assert again.video.read_bytes() == first.video.read_bytes()


def test_each_sample_is_what_its_seed_alone_makes(make: Make) -> None:
    both = make("both", seed=40, num_samples=2)
    alone = [make("alone", seed=seed)[0] for seed in (41, 40)]
    assert [result.seed for result in both] == [40, 41]
    assert [result.video.name for result in both] == [f"photo_svd_tiny_seed{seed}.mp4" for seed in (40, 41)]
    assert [result.video.read_bytes() for result in both] == [alone[1].video.read_bytes(), alone[0].video.read_bytes()]
    assert both[0].still.read_bytes() != both[1].still.read_bytes()


@pytest.mark.parametrize("sampler", ["EulerEDMSampler", "DPMPP2SAncestralSampler"])
def test_a_seed_makes_the_same_bytes_whatever_ran_before(make: Make, sampler: str) -> None:
    import torch

    (first,) = make("first", sampler=sampler)
    make("other", sampler="LinearMultistepSampler", num_frames=2, seed=1, num_steps=1)
    torch.manual_seed(99)
    torch.rand(7)
    (second,) = make("second", sampler=sampler)
    for suffix in (".mp4", ".png", ".json"):
        assert first.video.with_suffix(suffix).read_bytes() == second.video.with_suffix(suffix).read_bytes()


def test_a_second_run_never_replaces_the_first(make: Make, tmp_path: Path) -> None:
    (first,), (second,) = make(), make()
    assert (first.video.stem, second.video.stem) == ("photo_svd_tiny_seed23", "photo_svd_tiny_seed23_2")
    assert [second.still.stem, second.sidecar.stem] == [second.video.stem] * 2
    assert len(names(tmp_path)) == 6


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 24},
        {"crop_offset": 0.0},
        {"fitting": "fit"},
        {"cond_aug": 1.0},
        {"motion_bucket_id": 20},
        {"fps": 20},
        {"num_steps": 3},
        {"max_scale": 4.0},
        {"discretization": "LegacyDDPMDiscretization"},
        {"sampler": "EulerAncestralSampler"},
        {"decode_t": 1},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_setting_changes_the_video(make: Make, plain: Result, change: dict[str, Any]) -> None:
    (changed,) = make(**change)
    assert not np.array_equal(read_frames(plain.video), read_frames(changed.video))


def test_the_watermark_is_there_unless_it_was_switched_off(make: Make, plain: Result) -> None:
    (unmarked,) = make(watermark=False)
    for result, expected in ((plain, True), (unmarked, False)):
        with Image.open(result.still) as still:
            assert has_watermark(np.asarray(still)[None]) is expected
        assert read_metadata(result.video)["watermarked"] is expected


def test_one_frame_is_a_video_too(make: Make) -> None:
    (result,) = make(num_frames=1)
    assert read_frames(result.video).shape == (1, 64, 64, 3)


@pytest.mark.parametrize(("settings", "fps"), [({"fps": 9}, 9), ({"fps": 9, "saving_fps": 23.976}, 23.976)])
def test_the_file_has_the_frame_rate_that_was_asked_for(make: Make, settings: dict[str, Any], fps: float) -> None:
    import av

    (result,) = make(**settings)
    with av.open(str(result.video)) as container:
        assert float(container.streams.video[0].average_rate or 0) == pytest.approx(fps, rel=1e-6)


# Events


def test_events_have_stage_step_time_left_and_preview(make: Make) -> None:
    events: list[Event] = []
    make(on_event=events.append, num_steps=3, decode_t=2)
    assert list(dict.fromkeys(event.stage for event in events)) == STAGES
    for stage, steps in (("condition", [0, 1]), ("sample", [0, 1, 2, 3]), ("decode", [0, 2, 3]), ("write", [0, 1])):
        told = [event for event in events if event.stage == stage]
        assert [event.step for event in told] == steps
        assert {event.total for event in told} == {steps[-1]}
        assert told[0].seconds_left is None
        left = [event.seconds_left for event in told[1:]]
        assert all(seconds is not None and seconds >= 0 for seconds in left)
        assert left[-1] == 0
        assert [event.elapsed for event in told] == sorted(event.elapsed for event in told)


def test_sampling_events_have_noise_level_and_preview(make: Make, model: LoadedModel) -> None:
    events: list[Event] = []
    make(on_event=events.append, num_steps=3)
    steps = [event for event in events if event.stage == "sample"][1:]
    sigmas = [event.sigma or 0.0 for event in steps]
    assert sigmas == sorted(sigmas, reverse=True)
    assert 700 > sigmas[0] > sigmas[-1] == 0
    side = 64 // model.engine.downsampling
    for event in steps:
        assert event.frames is not None
        assert (event.frames.shape, event.frames.dtype) == ((3, side, side, 3), np.uint8)
    assert all(event.frames is None and event.sigma is None for event in events if event.stage != "sample")


def test_loading_reports_progress(tiny: ModelVersion) -> None:
    events: list[Event] = []
    loaded = inference.load(tiny, CPU, events.append)
    assert {event.stage for event in events} == {"load"}
    steps = [event.step for event in events]
    assert steps == sorted(steps)
    assert steps[0] == 0
    assert events[-1].step == events[-1].total > 1_000_000
    assert loaded.options == inference.resolve(CPU)


def test_memory_in_use_grows_with_what_is_held() -> None:
    before = inference.memory_in_use("cpu")
    # Measured by the system, because the C library may keep free memory of earlier tests.
    with mmap.mmap(-1, 2**28) as held:
        held.write(b"1" * 2**28)
        assert inference.memory_in_use("cpu") - before > 2**27


# Failed decoding


@pytest.fixture
def decoding(model: LoadedModel, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Make decoding fail; return the list of decode_t values that were tried."""

    def fail(error: Exception, *, above: int = 0, times: int = 99) -> list[int]:
        decode, tried = model.engine.decode, list[int]()

        def decode_or_fail(latents: Any, decode_t: int, on_chunk: Any = None, on_notice: Any = None) -> Any:
            tried.append(decode_t)
            if decode_t > above and len(tried) <= times:
                raise error
            return decode(latents, decode_t, on_chunk, on_notice)

        monkeypatch.setattr(model.engine, "decode", decode_or_fail)
        return tried

    return fail


@pytest.mark.parametrize(("above", "tried"), [(2, [5, 2]), (1, [5, 2, 1])])
def test_where_memory_runs_out_fewer_frames_are_decoded_at_a_time(
    make: Make, decoding: Callable[..., list[int]], above: int, tried: list[int]
) -> None:
    """Latents are kept, so sampling runs once. The video uses the smaller decode_t, as its metadata says."""
    (expected,) = make("expected", num_frames=5, decode_t=tried[-1])
    calls = decoding(MemoryError(), above=above)
    events: list[Event] = []
    (result,) = make("result", num_frames=5, decode_t=14, on_event=events.append)
    assert calls == [14, *tried[1:]]
    assert result.video.read_bytes() == expected.video.read_bytes()
    assert result.metadata["settings"]["decode_t"] == tried[-1]
    notices = [f"decode_t was halved to {number}, because memory ran out" for number in tried[1:]]
    assert result.notice == "; ".join(notices)
    assert [event.notice for event in events if event.notice] == notices
    assert len([event for event in events if (event.stage, event.step) == ("sample", 1)]) == 1
    again = next(event for event in events if event.notice)
    assert (again.stage, again.step, again.seconds_left) == ("decode", 0, None)


def test_a_chunk_decoded_again_is_reported_and_time_continues(
    make: Make, plain: Result, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = model.engine.decode

    def noticing(latents: Any, decode_t: int, on_chunk: Any = None, on_notice: Any = None) -> Any:
        frames = decode(latents, decode_t, on_chunk, on_notice)
        on_notice("decoded again in float32, because float16 overflowed")
        return frames

    monkeypatch.setattr(model.engine, "decode", noticing)
    events: list[Event] = []
    (result,) = make(on_event=events.append)
    assert result.notice == "decoded again in float32, because float16 overflowed"
    assert result.video.read_bytes() == plain.video.read_bytes()
    (told,) = [event for event in events if event.notice]
    done = [event for event in events if event.stage == "decode" and not event.notice][-1]
    assert (told.stage, told.step, told.notice) == ("decode", 3, result.notice)
    assert told.elapsed >= done.elapsed > 0


def test_memory_too_small_for_one_frame_is_reported(make: Make, decoding: Callable[..., list[int]]) -> None:
    tried = decoding(MemoryError())
    with pytest.raises(OutOfMemory, match="lower decode_t"):
        make(num_frames=5)
    assert tried == [14, 2, 1]


def test_decoding_that_failed_is_tried_once_more(make: Make, plain: Result, decoding: Callable[..., list[int]]) -> None:
    tried = decoding(RuntimeError("the card was upset"), times=1)
    (result,) = make()
    assert tried == [14, 14]
    assert result.video.read_bytes() == plain.video.read_bytes()
    assert result.notice == "decoding failed with RuntimeError and was retried"


@pytest.mark.parametrize(("error", "tries"), [(RuntimeError("the card is gone"), 2), (BadInput("no"), 1)])
def test_decoding_that_fails_repeatedly_is_reported(
    make: Make, decoding: Callable[..., list[int]], tmp_path: Path, error: Exception, tries: int
) -> None:
    tried = decoding(error)
    with pytest.raises(type(error), match=str(error)):
        make()
    assert len(tried) == tries
    assert names(tmp_path) == []


# Cancellation and validation


def stop_at(stage: str, step: int, error: type[BaseException]) -> Callable[[Event], None]:
    def stop(event: Event) -> None:
        if (event.stage, event.step) == (stage, step):
            raise error

    return stop


@pytest.mark.parametrize("error", [Cancelled, KeyboardInterrupt])
@pytest.mark.parametrize(
    ("stage", "step"), [("condition", 0), ("condition", 1), ("sample", 0), ("sample", 1), ("decode", 3), ("write", 0)]
)
def test_a_run_that_is_stopped_leaves_nothing(
    make: Make, tmp_path: Path, stage: str, step: int, error: type[BaseException]
) -> None:
    with pytest.raises(error):
        make(on_event=stop_at(stage, step, error))
    assert names(tmp_path) == []


def test_an_animation_lies_beside_the_video_under_its_name(make: Make, tmp_path: Path) -> None:
    (first,) = make(animation="gif")
    assert first.animation == tmp_path / "photo_svd_tiny_seed23.gif"
    first.video.unlink()
    (second,) = make(animation="webp")
    assert second.animation == tmp_path / "photo_svd_tiny_seed23_2.webp"
    for result in (first, second):
        assert result.animation is not None
        with Image.open(result.animation) as image:
            assert getattr(image, "n_frames", 1) == SMALL["num_frames"]
            assert np.abs(np.asarray(image.convert("RGB")).astype(int) - read_still(result)).mean() < 15


def read_still(result: Result) -> NDArray[np.uint8]:
    with Image.open(result.still) as image:
        return np.asarray(image)


@pytest.mark.parametrize(
    ("writer", "error"),
    [("write_still", MediaError), ("write_json", KeyboardInterrupt), ("write_animation", MediaError)],
)
def test_the_files_are_there_together_or_not_at_all(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writer: str, error: type[BaseException]
) -> None:
    """Regression: Ctrl-C between writing the video and its settings left the video without them."""

    def fail(*arguments: Sequence[object], **more: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, writer, fail)
    with pytest.raises(error):
        make(animation="gif")
    assert names(tmp_path) == []


def test_what_was_finished_stays_when_the_next_sample_is_stopped(make: Make, tmp_path: Path) -> None:
    written: list[Event] = []

    def stop_the_second(event: Event) -> None:
        if written and event.stage == "sample":
            raise Cancelled
        if event.stage == "write" and event.step == 1:
            written.append(event)

    with pytest.raises(Cancelled):
        make(num_samples=2, on_event=stop_the_second)
    assert names(tmp_path) == [f"photo_svd_tiny_seed23.{suffix}" for suffix in ("json", "mp4", "png")]


def test_settings_of_another_version_are_refused(model: LoadedModel, photo: Image.Image, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^the settings are for svd, the loaded model is svd_tiny$"):
        next(pipeline.run(model, photo, SampleSettings(version="svd"), tmp_path, name="photo"))


def test_a_size_that_the_model_cannot_make_is_refused(model: LoadedModel, photo: Image.Image, tmp_path: Path) -> None:
    settings = SampleSettings(height=100)
    with pytest.raises(BadInput, match="height must be a multiple of 16 for svd_tiny, got 100; try 96"):
        next(pipeline.run(model, photo, settings, tmp_path, name="photo"))


@pytest.mark.parametrize("change", [{"size_step": 8}, {"downsampling": 2}])
def test_a_row_that_does_not_fit_its_configuration_is_refused(tiny: ModelVersion, change: dict[str, int]) -> None:
    """Regression: a size_step finer than the network's allowed sizes that failed during the run."""
    with pytest.raises(ConfigError, match=r"the row of svd_tiny says .* needs \d+ and \d+; change the row"):
        inference.load(tiny.model_copy(update=change), CPU)


def test_a_missing_checkpoint_is_reported_before_loading(tiny: ModelVersion) -> None:
    events: list[Event] = []
    with pytest.raises(CheckpointError, match="the checkpoint of svd_tiny is missing"):
        inference.load(tiny.model_copy(update={"checkpoint": "none.safetensors"}), CPU, events.append)
    assert events == []
