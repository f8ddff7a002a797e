"""SDXL with diffusers: weights, vocabulary, seeds, previews, cancellation and memory plans of a tiny model."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import pytest
import tiny_sdxl
import torch

from img2vid.engine.text_to_image import (
    PictureRequest,
    Recipe,
    TextToImage,
    load_text_to_image,
    pad_with_zero,
    plan_for,
    write_tokenizer,
)
from img2vid.errors import Cancelled, CheckpointError, ConfigError, EngineUnavailable, NotFinite
from img2vid.options import LoadOptions
from img2vid.progress import Event, StageClock, ignore

CPU = LoadOptions("native", "cpu", "fp32", "fp32", "resident")
END = 49407
REQUEST = PictureRequest("a lighthouse", "text, watermark", 7, 3, 5.0, 64, 96)

pytestmark = pytest.mark.usefixtures("one_thread")


def load(folder: Path, sampler: str = "euler", spacing: str = "leading") -> TextToImage:
    recipe = Recipe(folder / "tiny_sdxl.yaml", sampler, spacing)
    return load_text_to_image(folder / "tiny_sdxl.safetensors", recipe, CPU, StageClock(ignore))


@pytest.fixture(scope="module")
def model(sdxl: Path) -> TextToImage:
    return load(sdxl)


def test_every_weight_of_the_single_file_arrives_and_nothing_is_downloaded(
    sdxl: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("a connection was opened"))
    pipeline: Any = load(sdxl)._pipeline  # pyright: ignore[reportPrivateUsage]
    for name, module in tiny_sdxl.parts().items():
        loaded = dict(getattr(pipeline, name).named_parameters())
        expected = dict(module.named_parameters())
        assert loaded.keys() == expected.keys()
        assert all(torch.equal(loaded[key], expected[key]) for key in expected)


@pytest.mark.parametrize("second", [False, True], ids=["first", "second"])
def test_prompts_have_the_tokens_of_open_clip(sdxl: Path, tmp_path: Path, second: bool) -> None:
    import transformers

    write_tokenizer(tmp_path)
    tokenizer: Any = transformers.CLIPTokenizer.from_pretrained(str(tmp_path), local_files_only=True)
    if second:
        pad_with_zero(tokenizer)
    texts = ["a lighthouse in a storm, oil painting", "Café, 3 dogs & 10 cats!", "", "naïve ☃ snowman " * 40]
    ids = tokenizer(texts, padding="max_length", max_length=77, truncation=True, return_tensors="pt").input_ids
    expected = open_clip.tokenizer.SimpleTokenizer()(texts)
    if not second:  # pads with the end token
        expected = torch.where((expected == END).cumsum(1) > 0, END, expected)
    assert torch.equal(ids, expected)


def test_the_same_seed_makes_the_same_picture_whatever_was_made_before(model: TextToImage) -> None:
    clock = StageClock(ignore)
    first = model.make(REQUEST, clock)
    other = model.make(replace(REQUEST, seed=8), clock)
    assert first.shape == (64, 96, 3) and first.dtype == np.uint8
    assert not np.array_equal(first, other)
    assert np.array_equal(first, model.make(REQUEST, clock))
    for change in ({"prompt": "a dog"}, {"negative_prompt": ""}, {"guidance": 2.0}, {"steps": 2}):
        assert not np.array_equal(first, model.make(replace(REQUEST, **change), clock))


def test_without_guidance_the_negative_prompt_has_no_effect(model: TextToImage) -> None:
    alone = replace(REQUEST, guidance=1.0)
    one, other = (model.make(replace(alone, negative_prompt=text), StageClock(ignore)) for text in ("", "text"))
    assert np.array_equal(one, other)


@pytest.mark.parametrize(("sampler", "spacing"), [("euler_ancestral", "trailing"), ("euler", "trailing")])
def test_samplers_and_spacings_differ_and_repeat(sdxl: Path, model: TextToImage, sampler: str, spacing: str) -> None:
    other = load(sdxl, sampler, spacing)
    made = [one.make(REQUEST, StageClock(ignore)) for one in (other, other, model)]
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_each_stage_reports_and_steps_have_a_preview(model: TextToImage) -> None:
    events: list[Event] = []
    model.make(REQUEST, StageClock(events.append))
    assert list(dict.fromkeys(event.stage for event in events)) == ["prompt", "sample", "decode"]
    steps = [event for event in events if event.stage == "sample"]
    assert [(event.step, event.total) for event in steps] == [(1, 3), (2, 3), (3, 3)]
    sigmas = [event.sigma for event in steps]
    assert None not in sigmas and sigmas == sorted(sigmas, reverse=True) and sigmas[-1] == 0  # type: ignore[type-var]
    previews = [event.frames for event in steps if event.frames is not None]
    assert [preview.shape for preview in previews] == [(1, 8, 12, 3)] * 3


def test_an_exception_of_the_receiver_stops_between_two_steps(model: TextToImage) -> None:
    steps: list[int] = []

    def cancel(event: Event) -> None:
        if event.stage == "sample":
            steps.append(event.step)
            if event.step == 2:
                raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        model.make(REQUEST, StageClock(cancel))
    assert steps == [1, 2]
    assert model.make(REQUEST, StageClock(ignore)).shape == (64, 96, 3)


def test_a_prompt_that_is_too_long_gives_a_notice(model: TextToImage) -> None:
    clock = StageClock(ignore)
    model.make(replace(REQUEST, prompt="lighthouse " * 100), clock)
    assert clock.notices == ["the prompt has 100 tokens, of which the model reads the first 75"]


def test_a_decoder_without_memory_decodes_in_tiles(model: TextToImage, monkeypatch: pytest.MonkeyPatch) -> None:
    vae: Any = model._pipeline.vae  # pyright: ignore[reportPrivateUsage]
    square = replace(REQUEST, width=64)  # one tile
    whole, decode = model.make(square, StageClock(ignore)), vae.decode

    def scarce(latents: Any, **options: Any) -> Any:
        if not vae.use_tiling:
            raise MemoryError
        return decode(latents, **options)

    monkeypatch.setattr(vae, "decode", scarce)
    clock = StageClock(ignore)
    assert np.array_equal(model.make(square, clock), whole)
    assert clock.notices == ["the picture was decoded in tiles, because memory ran out"]
    assert not vae.use_tiling


def test_nan_is_reported_instead_of_a_black_picture(sdxl: Path) -> None:
    model = load(sdxl)
    with torch.no_grad():
        model._pipeline.unet.conv_out.bias.fill_(float("nan"))  # pyright: ignore[reportPrivateUsage]
    with pytest.raises(NotFinite, match=r"^the latents contain NaN or infinity; choose precision"):
        model.make(REQUEST, StageClock(ignore))


def test_other_checkpoints_are_refused(sdxl: Path, random_checkpoint: Path) -> None:
    recipe = Recipe(sdxl / "tiny_sdxl.yaml", "euler", "leading")
    with pytest.raises(CheckpointError, match=r"is not an SDXL checkpoint in one file; choose another file$"):
        load_text_to_image(random_checkpoint, recipe, CPU, StageClock(ignore))


def test_a_configuration_that_does_not_fit_is_refused(sdxl: Path, tmp_path: Path) -> None:
    file = tmp_path / "other.yaml"
    text = (sdxl / "tiny_sdxl.yaml").read_text(encoding="utf-8")
    recipe, checkpoint = Recipe(file, "euler", "leading"), sdxl / "tiny_sdxl.safetensors"
    file.write_text(text.replace("cross_attention_dim: 96", "cross_attention_dim: 128"), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"does not fit .*other\.yaml \(.*; choose another file$"):
        load_text_to_image(checkpoint, recipe, CPU, StageClock(ignore))
    for text, said in (
        ("unet: {}\n", "has no section 'text_encoder'"),
        ("text_encoder: 3\n", "has a section without fields"),
        ("[]\n", "has a section without fields"),
    ):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=rf"other\.yaml {said}; see configs/sdxl\.yaml$"):
            load_text_to_image(checkpoint, recipe, CPU, StageClock(ignore))


def test_without_the_packages_the_error_has_the_command(sdxl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("img2vid.remedies.find_spec", lambda name: None if name == "diffusers" else object())
    with pytest.raises(EngineUnavailable, match=r"need the package diffusers \(about 20 MB.*--with text`$"):
        load(sdxl)


def test_memory_plans_follow_the_free_memory() -> None:
    whole, largest = 7_100_000_000, 5_100_000_000
    free = [24e9, 10.2e9, 10e9, 6.7e9, 6e9, 4e9]
    plans = ["resident", "resident", "stages", "stages", "blocks", "blocks"]
    assert [plan_for(int(one), whole, largest) for one in free] == plans
