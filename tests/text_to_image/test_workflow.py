"""Pictures of ComfyUI's workflows as settings."""

from dataclasses import replace
from pathlib import Path

import pytest
from workflows import text_to_video

from img2vid.comfyui.export import TIMESTEPS
from img2vid.comfyui.prompt import Prompt
from img2vid.comfyui.read import read_workflow
from img2vid.text_to_image.settings import ImageSettings
from img2vid.text_to_image.workflow import image_of_workflow, prompt_of_image


def test_the_public_example() -> None:
    prompt = read_workflow(text_to_video(), "a.json").prompt
    assert prompt is not None
    image, left_out = image_of_workflow(prompt)
    assert image == ImageSettings(
        prompt="photograph beautiful scenery nature mountains alps river rapids snow sky cumulus clouds",
        negative_prompt="text, watermark",
        seed=144698910769133 % 2**32,
        steps=15,
        guidance=8,
        width=1024,
        height=576,
    )
    assert left_out == [
        "image model sd_xl_1.0.safetensors (now sd_xl_base_1.0)",
        "image seed 144698910769133 (now 1462566893)",
        "image sampler uni_pc_bh2",
        "image scheduler normal",
    ]


LIGHTNING = Prompt("a dog", "", 7, 4, 1.0, 1024, 576, "SDXL_Lightning_4step.safetensors", "euler", "sgm_uniform")


def test_a_distilled_model_has_its_own_schedule() -> None:
    image, left_out = image_of_workflow(LIGHTNING)
    assert image is not None
    assert (image.model, image.steps, image.guidance, left_out) == ("sdxl_lightning_4step", 4, 1, [])


@pytest.mark.parametrize("model", ["sd_xl_base_1.0", "sdxl_lightning_4step", "sd_xl_turbo_1.0"])
def test_an_exported_picture_comes_back(model: str) -> None:
    values = {"prompt": "a dog", "negative_prompt": "text", "seed": 7, "steps": 25, "guidance": 2.5}
    image = ImageSettings(model=model, width=64, height=128, **values)
    assert image_of_workflow(prompt_of_image(image)) == (image, [])


def test_a_model_that_is_gone_keeps_its_files_name() -> None:
    prompt = prompt_of_image(ImageSettings(model="mine", prompt="a dog"))
    assert (prompt.model, prompt.sampler) == ("mine.safetensors", "euler")


@pytest.mark.parametrize("steps", [4, 20, 25, 50])
def test_comfyuis_schedule_has_the_noise_levels_of_leading_steps(steps: int) -> None:
    diffusers = pytest.importorskip("diffusers")
    config = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}
    scheduler = diffusers.EulerDiscreteScheduler(**config, timestep_spacing="leading")
    scheduler.set_timesteps(steps)
    assert scheduler.timesteps.tolist() == [*range(1, TIMESTEPS, TIMESTEPS // steps)][::-1]


def test_values_outside_the_limits_are_moved_into_them() -> None:
    image, left_out = image_of_workflow(replace(LIGHTNING, steps=9999, cfg=0.5, width=1001, height=16))
    assert image is not None
    assert (image.steps, image.guidance, image.width, image.height) == (150, 1, 1000, 64)
    assert left_out == [
        "image steps 9999 (now 150)",
        "image guidance 0.5 (now 1)",
        "image width 1001 (now 1000)",
        "image height 16 (now 64)",
    ]


def test_what_the_workflow_lacks_has_the_models_defaults() -> None:
    image, left_out = image_of_workflow(Prompt("a dog", model="sd_xl_base_1.0.safetensors"))
    assert (image, left_out) == (ImageSettings(prompt="a dog", seed=0), [])


@pytest.mark.parametrize("text", ["", "x" * 2001, "a\x1b[2Jdog"], ids=["empty", "long", "control"])
def test_an_unusable_prompt_is_named(text: str) -> None:
    image, left_out = image_of_workflow(replace(LIGHTNING, prompt=text))
    assert image is None
    assert "prompt" in left_out[0]


def test_a_fine_tune_is_found_by_its_file(sdxl: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG2VID_CHECKPOINTS", str(sdxl))
    image, _ = image_of_workflow(replace(LIGHTNING, model="tiny_sdxl.safetensors"))
    assert image is not None and image.model == "tiny_sdxl"
