"""In-process tests of the command line: options, output, exit codes and errors."""

import errno
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from other_settings import OTHER_VALUES
from PIL import Image
from workflows import changed, image_to_video, text_to_video

from img2vid import inference, paths, pipeline
from img2vid.cli import main
from img2vid.errors import BadInput, EngineUnavailable, MediaError
from img2vid.gallery.entries import Entries
from img2vid.jobs.store import Store
from img2vid.media.videos import read_frames, read_metadata
from img2vid.options import LoadOptions
from img2vid.settings import SampleSettings
from img2vid.settings_validation import requirement
from img2vid.versions import find_version

PHOTO = paths.PROJECT / "assets" / "dandelion.jpg"
SMALL = ["--height", "64", "--width", "64", "--num-frames", "2", "--num-steps", "1", "--device", "cpu"]


@dataclass(frozen=True)
class Said:
    """Output and exit code of a command."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Return a function that runs a command in a project with an empty checkpoint folder and a temporary home."""
    monkeypatch.setattr(paths, "PROJECT", tmp_path / "project")
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path / "home"))
    for name in ("IMG2VID_CHECKPOINTS", "IMG2VID_ENGINE", "IMG2VID_SCHEDULER", "IMG2VID_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Said:
        code = main.run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return run


@pytest.fixture
def with_model(command: Command, monkeypatch: pytest.MonkeyPatch, random_checkpoint: Path) -> None:
    """Install the random svd_tiny."""
    monkeypatch.setenv("IMG2VID_CHECKPOINTS", str(random_checkpoint.parent))


@pytest.fixture
def without_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail the test as soon as a model is loaded."""

    def load(*arguments: object) -> None:
        pytest.fail("the model was loaded")

    monkeypatch.setattr(inference, "load", load)


def refused(said: Said) -> str:
    """Return the single error line of a rejected command."""
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("img2vid: ")
    assert said.err.count("\n") == 1
    assert said.err.endswith("\n")
    return said.err.removeprefix("img2vid: ").rstrip()


# Videos


@pytest.mark.usefixtures("with_model")
def test_the_last_line_is_the_path_of_the_video(command: Command, tmp_path: Path) -> None:
    said = command("sample", PHOTO, *SMALL, "--out", tmp_path / "my videos")
    assert (said.code, said.err) == (0, "")
    video = Path(said.out.splitlines()[-1])
    assert video == tmp_path / "my videos" / "dandelion_svd_tiny_seed23.mp4"
    assert len(read_frames(video)) == 2


@pytest.mark.usefixtures("with_model")
def test_a_format_in_which_the_processor_is_slow_is_named_once(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("img2vid.engine.format_speed.slowdown", {"bf16": 15.0}.__getitem__)
    folder = tmp_path / "pictures"
    folder.mkdir()
    for name in ("one.jpg", "two.jpg"):
        shutil.copy(PHOTO, folder / name)
    said = command("sample", folder, *SMALL, "--precision", "bf16")
    assert (said.code, len(said.out.splitlines())) == (0, 2)
    assert said.err == (
        "img2vid: precision bf16 is slower than fp32 on this processor; choose fp32 unless memory is short\n"
    )


@pytest.mark.usefixtures("with_model")
def test_json_is_one_object_for_each_video_and_nothing_else(command: Command, tmp_path: Path) -> None:
    said = command("sample", PHOTO, *SMALL, "--num-samples", "2", "--json")
    assert said.code == 0
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [row["settings"]["seed"] for row in rows] == [23, 24]
    for row in rows:
        assert Path(row["video"]).parent == tmp_path / "home"
        assert Path(row["still"]).is_file()
        assert json.loads(Path(row["settings_file"]).read_text(encoding="utf-8"))["settings"] == row["settings"]
        assert read_metadata(Path(row["video"]))["settings"] == row["settings"]
        assert row["seconds"] > 0


@pytest.mark.usefixtures("with_model")
def test_videos_of_the_command_line_are_in_the_gallery(command: Command, tmp_path: Path) -> None:
    assert command("sample", PHOTO, *SMALL, "--num-samples", "2", "--out", tmp_path / "mine").code == 0
    second, first = Entries(Store()).find()
    assert first.result.video == tmp_path / "mine" / "dandelion_svd_tiny_seed23.mp4"
    assert (first.settings.seed, second.settings.seed, second.settings.num_samples) == (23, 24, 1)
    assert first.job.picture.read_bytes() == PHOTO.read_bytes()
    assert first.result.memory > 1_000_000
    assert first.result.seconds > 0


@pytest.mark.usefixtures("with_model")
def test_a_store_that_cannot_be_written_takes_nothing_from_a_video(command: Command, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "img2vid.sqlite").write_text("a letter, and nothing that a database begins with")
    said = command("sample", PHOTO, *SMALL, "--out", tmp_path / "mine")
    assert said.code == 0
    assert len(read_frames(Path(said.out.splitlines()[-1]))) == 2
    assert said.err.startswith("img2vid: dandelion: the video could not be added to the gallery: the job database")


@pytest.mark.usefixtures("with_model")
def test_an_animation_is_written_and_named_in_json(command: Command, tmp_path: Path) -> None:
    (line,) = command("sample", PHOTO, *SMALL, "--animation", "webp", "--json").out.splitlines()
    assert Path(json.loads(line)["animation"]) == tmp_path / "home" / "dandelion_svd_tiny_seed23.webp"
    assert Path(json.loads(line)["animation"]).is_file()
    assert "--animation" in refused(command("sample", PHOTO, "--animation", "avi"))


@pytest.mark.usefixtures("with_model")
def test_an_animation_plays_back_and_forth(command: Command) -> None:
    longer = ["--num-frames", "4"]
    said = command("sample", PHOTO, *SMALL, *longer, "--animation", "webp", "--playback", "boomerang", "--json")
    with Image.open(json.loads(said.out)["animation"]) as image:
        assert getattr(image, "n_frames") == 6  # noqa: B009
    assert "add --animation gif" in refused(command("sample", PHOTO, "--playback", "loop"))


@pytest.mark.usefixtures("with_model")
def test_deviations_from_the_request_are_printed(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    load = inference.load

    def load_stingy(*arguments: Any) -> inference.LoadedModel:
        model = load(*arguments)
        decode = model.engine.decode

        def decode_or_fail(latents: Any, decode_t: int, on_chunk: Any = None, on_notice: Any = None) -> Any:
            if decode_t > 1:
                raise MemoryError
            return decode(latents, decode_t, on_chunk)

        monkeypatch.setattr(model.engine, "decode", decode_or_fail)
        return model

    monkeypatch.setattr(inference, "load", load_stingy)
    said = command("sample", PHOTO, *SMALL, "--json")
    assert said.code == 0
    assert said.err == "img2vid: dandelion: decode_t was halved to 1, because memory ran out\n"
    row = json.loads(said.out)
    assert row["settings"]["decode_t"] == 1
    assert row["picture_sha256"] == hashlib.sha256(PHOTO.read_bytes()).hexdigest()


def test_an_invalid_scheduler_address_is_refused(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG2VID_SCHEDULER", "my cluster")
    assert refused(command("sample", PHOTO)) == (
        "IMG2VID_SCHEDULER must be like tcp://host:8786 or tls://host:8786, got 'my cluster'"
    )


@pytest.mark.usefixtures("with_model")
def test_a_bad_picture_in_a_folder_is_reported_and_the_others_are_made(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    shutil.copy(PHOTO, folder / "a[bold].jpg")
    (folder / "b.jpg").write_bytes(PHOTO.read_bytes()[:2000])
    shutil.copy(PHOTO, folder / "c.jpg")
    (folder / "notes.txt").write_text("no picture", encoding="utf-8")
    said = command("sample", folder, *SMALL)
    assert said.code == 2
    assert [Path(line).name for line in said.out.splitlines()] == [
        "a[bold]_svd_tiny_seed23.mp4",
        "c_svd_tiny_seed23.mp4",
    ]
    assert all(Path(line).is_file() for line in said.out.splitlines())
    why = "it is damaged or incomplete; save or download it again"
    assert said.err.splitlines() == [
        "img2vid: skipped 1 file without a picture suffix: notes.txt; to use such a file, pass its own path",
        f"img2vid: {folder / 'b.jpg'}: {why}",
        f"img2vid: 1 of 3 pictures failed: {folder / 'b.jpg'} ({why})",
    ]


@pytest.mark.usefixtures("with_model")
def test_a_picture_with_any_name_is_made(command: Command, tmp_path: Path) -> None:
    """Regression: names with a lone surrogate, of 240 characters or for Windows devices failed after sampling."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    names = ["CON.jpg", f"{'x' * 240}.jpg", "a.jpg", "a.jpeg", "A.jpe"]
    if sys.platform != "darwin":
        names.append("lone\udcff.jpg")
    made = [folder / name for name in names]
    for path in [*made]:
        try:
            shutil.copy(PHOTO, path)
        except OSError:  # Windows or macOS does not allow this name, so no picture can have it
            made.remove(path)
    said = command("sample", *made, *SMALL, "--out", tmp_path / "out")
    assert (said.code, said.err) == (0, "")
    videos = [Path(line) for line in said.out.splitlines()]
    assert len(videos) == len({video.name.casefold() for video in videos}) == len(made)
    assert all(len(read_frames(video)) == 2 and video.with_suffix(".json").is_file() for video in videos)
    assert len(Entries(Store()).find()) == len(made)


FAILURES = {
    "a full disk": (OSError(errno.ENOSPC, "No space left on device"), 1, "the disk is full"),
    "a video that cannot be written": (MediaError("cannot write 'b.mp4'"), 1, "cannot write 'b.mp4'"),
    "a name that cannot be encoded": (
        UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates"),
        1,
        "failed with Unicode",
    ),
    "an unexpected error": (ValueError("x" * 5000), 1, "failed with ValueError: xxx"),
    "bad input": (BadInput("it is empty"), 2, "it is empty"),
}


@pytest.mark.parametrize(("error", "code", "reason"), FAILURES.values(), ids=FAILURES.keys())
def test_whatever_one_picture_causes_the_others_are_made(
    command: Command,
    planned: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    error: Exception,
    code: int,
    reason: str,
) -> None:
    made: list[str] = []

    def run(*arguments: object, name: str, **more: object) -> list[Any]:
        if name == "b":
            raise error
        made.append(name)
        return []

    monkeypatch.setattr(pipeline, "run", run)
    for name in "abc":
        shutil.copy(PHOTO, tmp_path / f"{name}.jpg")
    bad = tmp_path / "b.jpg"
    said = command("sample", tmp_path / "none.jpg", tmp_path / "a.jpg", bad, tmp_path / "c.jpg")
    assert (said.code, made) == (code, ["a", "c"])
    *_, last = said.err.splitlines()
    assert last.startswith(f"img2vid: 2 of 4 pictures failed: {tmp_path / 'none.jpg'} (no such file or folder; ")
    assert f"{bad} ({reason}" in last and len(last) < 1500


# Options


def test_every_setting_has_another_value_in_these_tests() -> None:
    assert OTHER_VALUES.keys() == SampleSettings.model_fields.keys()
    assert all(OTHER_VALUES[name] != field.default for name, field in SampleSettings.model_fields.items())


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Record what would be loaded and run, without doing it."""
    plan: list[Any] = []

    def load(version: Any, options: Any, on_event: Any) -> Any:
        plan.append(options)
        return SimpleNamespace(version=version, options=LoadOptions(device="cpu"), advice="")

    def run(model: object, picture: object, settings: SampleSettings, folder: Path, **more: object) -> list[Any]:
        plan.append(settings)
        return []

    monkeypatch.setattr(inference, "load", load)
    monkeypatch.setattr(pipeline, "run", run)
    return plan


def test_every_setting_is_an_option_under_its_own_name(command: Command, planned: list[Any]) -> None:
    arguments: list[str] = []
    for name, value in OTHER_VALUES.items():
        option = name.replace("_", "-")
        arguments += [f"--no-{option}"] if value is False else [f"--{option}", str(value)]
    assert command("sample", PHOTO, *arguments).code == 0
    assert planned[1] == SampleSettings(**OTHER_VALUES)


def test_what_is_not_given_is_the_versions_default(command: Command, planned: list[Any]) -> None:
    assert command("sample", PHOTO, "--version", "svd_xt", "--fps", "9").code == 0
    settings = planned[1]
    assert (settings.num_frames, settings.num_steps, settings.min_scale, settings.fps) == (25, 30, 1.5, 9)


def test_a_preset_is_overridden_by_options(command: Command, planned: list[Any]) -> None:
    assert command("sample", PHOTO, "--preset", "Fast", "--version", "svd_xt", "--seed", "5").code == 0
    assert planned[1] == find_version("svd_xt").settings(
        {"discretization": "AYSDiscretization", "num_steps": 10, "seed": 5}
    )
    assert command("sample", PHOTO, "--preset", "Fast", "--num-steps", "12").code == 0
    assert planned[3].num_steps == 12
    refused = command("sample", PHOTO, "--preset", "Slow")
    assert (refused.code, "there is no preset 'Slow'" in refused.err) == (2, True)


def test_a_workflow_of_comfyui_is_overridden_by_options(command: Command, planned: list[Any], tmp_path: Path) -> None:
    path = tmp_path / "flow.json"
    path.write_text(json.dumps(changed(image_to_video(), "KSampler", 0, 9)), encoding="utf-8")
    said = command("sample", PHOTO, "--workflow", path, "--num-steps", "12")
    assert (said.code, "counterpart" in said.err) == (0, False)
    values = {"num_steps": 12, "seed": 9, "cond_aug": 0, "saving_fps": 10}
    assert planned[1] == find_version("svd").settings(values)
    path.write_text(json.dumps(changed(text_to_video(), "KSampler", 4, "uni_pc")), encoding="utf-8")
    text = "Without a counterpart here: seed 237514639057514 (now 2947588714), sampler uni_pc"
    assert text in command("sample", PHOTO, "--workflow", path).err
    for name, expected in (("none.json", "cannot be read"), (PHOTO, "carries no ComfyUI workflow")):
        refused = command("sample", PHOTO, "--workflow", name)
        assert (refused.code, expected in refused.err) == (2, True)


@pytest.mark.parametrize(
    ("variable", "options", "provider"),
    [(None, [], "auto"), ("sgm", [], "sgm"), ("sgm", ["--provider", "native"], "native")],
)
def test_the_engine_is_the_option_or_else_the_variable(
    command: Command,
    planned: list[Any],
    monkeypatch: pytest.MonkeyPatch,
    variable: str | None,
    options: list[str],
    provider: str,
) -> None:
    if variable is not None:
        monkeypatch.setenv("IMG2VID_ENGINE", variable)
    command("sample", PHOTO, *options, "--device", "cuda:1", "--precision", "bf16", "--allow-pickle")
    assert planned[0] == LoadOptions.of_stored(
        {"provider": provider, "device": "cuda:1", "precision": "bf16", "allow_pickle": True}
    )


def test_how_a_model_is_run_is_said_with_options(command: Command, planned: list[Any]) -> None:
    command("sample", PHOTO, "--memory", "stages", "--decoder-precision", "fp16", "--compile", "--threads", "3")
    assert planned[0] == LoadOptions(memory="stages", decoder_precision="fp16", compile=True, threads=3)


def test_the_help_explains_every_option(command: Command, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        command("sample", "--help")
    assert caught.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    for name, field in SampleSettings.model_fields.items():
        assert f"--{name.replace('_', '-')}" in text
        assert field.description is not None
        assert field.description in text
        assert field.annotation is bool or requirement(name)[1:] in text
    assert "A whole number from 0 to 4294967295; default: 23." in text
    assert "A whole number from 64 to 2048 (pixels); default: the version's." in text
    assert "Default: on." in text


# Errors


REFUSED = {
    "precision": (["--precision", "fp8"], "precision must be one of auto, fp32, fp16, bf16, got 'fp8'"),
    "decoder": (["--decoder-precision", "int8"], "decoder_precision must be one of auto, fp32, fp16, bf16, got 'int8'"),
    "memory plan": (["--memory", "4GB"], "memory must be one of auto, resident, stages, blocks, got '4GB'"),
    "threads": (["--threads", "many"], "threads must be a whole number from 0 to 1024, got 'many'"),
    "too many threads": (["--threads", "1025"], "threads must be a whole number from 0 to 1024, got '1025'"),
    "out of range": (["--fps", "0"], "fps must be a whole number from 1 to 1000 (frames per second), got '0'"),
    "no number": (["--seed", "lucky"], "seed must be a whole number from 0 to 4294967295, got 'lucky'"),
    "nan": (["--cond-aug", "nan"], "cond_aug must be a number from 0 to 10, got 'nan'"),
    "negative": (["--s-churn", "-1"], "s_churn must be a number from 0 to 1000, got '-1'"),
    "no choice": (["--fitting", "squeeze"], "fitting must be one of crop, fit, object, got 'squeeze'"),
    "size": (["--height", "100"], "height must be a multiple of 16 for svd_tiny, got 100; try 96"),
    "two settings": (
        ["--sigma-min", "9", "--sigma-max", "8"],
        "sigma_min must not be above sigma_max, got 9.0 and 8.0",
    ),
    "interval": (
        ["--guidance-sigma-min", "9", "--guidance-sigma-max", "8"],
        "guidance_sigma_min must not be above guidance_sigma_max, got 9.0 and 8.0",
    ),
    "approximation": (
        ["--block-cache", "2", "--provider", "sgm"],
        "the sgm engine has no approximations, got block_cache 2; leave them at their defaults or choose the native "
        "engine",
    ),
    "option": (["--speed", "3"], "unrecognized arguments: --speed 3; see `img2vid --help`"),
    "shortened": (["--num-st", "3"], "unrecognized arguments: --num-st 3; see `img2vid --help`"),
    "empty folder": (
        ["--out", ""],
        "argument --out: a path is needed, got ''; the current folder is .; see `img2vid sample --help`",
    ),
    "empty file": (
        ["--azimuths", os.devnull],
        "azimuths must be numbers from -360 to 360, one for each view, or a text file of them; "
        f"the file {os.devnull!r} cannot be read (it is empty)",
    ),
    "no value": (["--fps"], "argument --fps: expected one argument; see `img2vid sample --help`"),
}


@pytest.mark.usefixtures("without_loading")
@pytest.mark.parametrize(("options", "sentence"), REFUSED.values(), ids=REFUSED.keys())
def test_a_bad_value_is_refused_before_the_model_is_loaded(command: Command, options: list[str], sentence: str) -> None:
    assert refused(command("sample", PHOTO, *options)) == sentence


@pytest.mark.usefixtures("without_loading")
def test_a_bad_picture_or_folder_is_refused_before_the_model_is_loaded(command: Command, tmp_path: Path) -> None:
    (tmp_path / "words.jpg").write_text("no picture", encoding="utf-8")
    (tmp_path / "empty").mkdir()
    assert "no such file or folder" in refused(command("sample", tmp_path / "none.jpg"))
    assert "'words.jpg' is not a supported image" in refused(command("sample", tmp_path / "words.jpg"))
    assert "has no images" in refused(command("sample", tmp_path / "empty"))
    assert "nothing can be written to" in refused(command("sample", PHOTO, "--out", tmp_path / "words.jpg"))


@pytest.mark.usefixtures("without_loading")
def test_an_unknown_version_is_refused_with_the_names(command: Command) -> None:
    said = refused(command("sample", PHOTO, "--version", "svd_xxl"))
    assert said.startswith("there is no model version 'svd_xxl'; choose one of svd_tiny, svd_tiny_xt, svd, ")


def test_a_missing_checkpoint_is_reported_with_file_and_folder(command: Command, tmp_path: Path) -> None:
    assert refused(command("sample", PHOTO, "--version", "svd_xt")) == (
        "the checkpoint of svd_xt is missing; download it with `img2vid models download svd_xt` or on the Models page, "
        f"or place svd_xt.safetensors (9.56 GB) in {tmp_path / 'project' / 'checkpoints'} "
        "(source: huggingface.co/stabilityai/stable-video-diffusion-img2vid-xt)"
    )


@pytest.mark.parametrize("arguments", [[], ["paint"], ["sample"]])
def test_a_command_that_makes_no_sense_is_refused(command: Command, arguments: list[str]) -> None:
    assert "--help`" in refused(command(*arguments))


@pytest.mark.parametrize(
    ("error", "code", "sentence"),
    [
        (MediaError("the disk is full"), 1, "the disk is full"),
        (EngineUnavailable("sgm is missing"), 1, "sgm is missing"),
        (KeyboardInterrupt(), 130, "stopped; finished videos are kept"),
        (ValueError("one\ntwo"), 1, "failed with ValueError: one two (set IMG2VID_TRACEBACK=1 to see the traceback)"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_failure_is_one_sentence(
    command: Command, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, sentence: str
) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(inference, "load", fail)
    said = command("sample", PHOTO)
    assert (said.code, said.out) == (code, "")
    assert said.err == f"img2vid: {sentence}\n"
    if isinstance(error, ValueError):
        monkeypatch.setenv("IMG2VID_TRACEBACK", "1")
        with pytest.raises(ValueError, match="one"):
            command("sample", PHOTO)
