"""The commands `imagine` and `sample --prompt`: options, files, metadata and errors."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from workflows import changed, image_to_video, named, text_to_video

from img2vid.cli import main
from img2vid.gallery.entries import Entries
from img2vid.jobs.store import Store
from img2vid.media.videos import read_metadata
from img2vid.text_to_image.pipeline import origin_of
from img2vid.text_to_image.settings import image_settings_of

SMALL = ("--height", "64", "--width", "64", "--num-frames", "2", "--num-steps", "1", "--device", "cpu")
IMAGE = ("--image-model", "tiny_sdxl", "--image-steps", "1", "--image-seed", "5", "--negative-prompt", "text")
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for name in ("IMG2VID_CHECKPOINTS", "IMG2VID_ENGINE", "IMG2VID_SCHEDULER", "IMG2VID_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        code = main.run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return run


@pytest.fixture
def with_models(run: Run, sdxl: Path, random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copy(random_checkpoint, sdxl)
    monkeypatch.setenv("IMG2VID_CHECKPOINTS", str(sdxl))


@pytest.mark.takes_long("starts a cluster, whose worker imports diffusers")
@pytest.mark.usefixtures("with_models")
def test_pictures_and_a_video_of_the_first_one_are_made(run: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, said, problems = run("imagine", "a lighthouse", *IMAGE, "--candidates", 2, "--animate", *SMALL, "--out", out)
    assert (code, problems) == (0, "")
    first, second, video = map(Path, said.splitlines())
    assert [path.name for path in (first, second)] == [f"a lighthouse_tiny_sdxl_seed{seed}.png" for seed in (5, 6)]
    assert video == out / "a lighthouse_svd_tiny_seed23.mp4"
    image = image_settings_of(read_metadata(video))
    assert image is not None
    assert (image.prompt, image.negative_prompt, image.model, image.seed) == ("a lighthouse", "text", "tiny_sdxl", 5)
    assert image_settings_of({"image": origin_of(first.read_bytes())}) == image
    assert first.read_bytes() != second.read_bytes()
    (entry,) = Entries(Store()).find()
    assert entry.result.video == video
    assert entry.job.picture.read_bytes() == first.read_bytes()

    # The picture exists, so only the video is made.
    code, said, problems = run(
        "sample", "--prompt", "a lighthouse", *IMAGE, *SMALL, "--seed", 7, "--out", out, "--json"
    )
    assert code == 0
    row = json.loads(said)
    assert Path(row["video"]).name == "a lighthouse_svd_tiny_seed7.mp4"
    assert row["picture_sha256"] == entry.job.picture.stem
    video_job, image_job = Store().jobs(limit=2)
    assert video_job.continues == image_job.id
    assert (image_job.attempts, image_job.pictures) == (1, (entry.job.picture,))


def test_a_missing_model_is_one_sentence_with_size_and_source(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("img2vid.remedies.find_spec", lambda name: object())
    code, said, problems = run("imagine", "a lighthouse")
    assert (code, said) == (2, "")
    assert "img2vid models download sd_xl_base_1.0" in problems and "(6.94 GB)" in problems


def test_missing_packages_are_one_sentence_with_the_command(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("img2vid.remedies.find_spec", lambda name: None)
    code, said, problems = run("imagine", "a lighthouse")
    assert (code, said) == (1, "")
    assert problems.count("\n") == 1
    assert "need the packages diffusers and transformers and accelerate" in problems
    assert "--with text" in problems


@pytest.mark.takes_long("starts a cluster, whose worker imports diffusers")
@pytest.mark.usefixtures("with_models")
def test_a_workflow_of_comfyui_makes_picture_and_video(run: Run, tmp_path: Path) -> None:
    tree = changed(text_to_video(), "CheckpointLoaderSimple", 0, "tiny_sdxl.safetensors")
    tree = changed(tree, "ImageOnlyCheckpointLoader", 0, "svd_tiny.safetensors")
    named(tree, "EmptyLatentImage")["widgets_values"][:2] = [64, 64]
    path = tmp_path / "flow.json"
    path.write_text(json.dumps(tree), encoding="utf-8")
    few = ("--image-steps", 1, "--image-seed", 9, *SMALL, "--seed", 4)
    code, said, problems = run("sample", "--workflow", path, *few, "--out", tmp_path)
    assert code == 0
    for text in ("seed 237514639057514", "image sampler uni_pc_bh2"):
        assert text in problems
    metadata = read_metadata(Path(said.strip()))
    image = image_settings_of(metadata)
    assert image is not None
    assert (image.model, image.seed, image.steps, image.width) == ("tiny_sdxl", 9, 1, 64)
    assert image.prompt.startswith("photograph beautiful scenery")
    assert (metadata["settings"]["max_scale"], metadata["settings"]["cond_aug"]) == (2.5, 0.0)


def test_a_workflow_without_words_needs_a_picture(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "flow.json"
    path.write_text(json.dumps(changed(image_to_video(), "KSampler", 0, 9)), encoding="utf-8")
    code, _, problems = run("sample", "--workflow", path)
    assert (code, "the workflow has no prompt; pass an image or --prompt" in problems) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sample",), "pass either images or --prompt"),
        (("sample", "photo.jpg", "--prompt", "a dog"), "pass either images or --prompt"),
        (("sample", "--prompt", ""), "there is no prompt"),
        (("imagine", "a dog", "--image-steps", "none"), "the picture's steps must be a whole number from 1 to 150"),
        (("imagine", "a dog", "--candidates", "9"), "the picture's candidates must be a whole number from 1 to 8"),
        (("imagine", "a dog", "--image-model", "sd15"), "there is no image model 'sd15'; choose one of sd_xl_base_1.0"),
    ],
    ids=["nothing", "both", "empty", "steps", "candidates", "model"],
)
def test_invalid_arguments_are_refused(run: Run, arguments: tuple[str, ...], message: str) -> None:
    code, said, problems = run(*arguments)
    assert (code, said) == (2, "")
    assert message in problems


def test_the_models_are_listed_and_found_by_the_other_commands(run: Run) -> None:
    code, said, _ = run("models", "list")
    assert code == 0
    assert "CreativeML Open RAIL++-M" in said
    code, _, problems = run("models", "remove", "sd_xl_base_1.0", "--yes")
    assert (code, problems) == (2, "img2vid: sd_xl_base_1.0 is not installed, so there is nothing to remove\n")
