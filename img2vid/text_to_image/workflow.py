"""Settings of the picture that a ComfyUI workflow makes from words, and the other way round."""

from pathlib import Path

from img2vid.comfyui.prompt import Prompt
from img2vid.control import about_of
from img2vid.errors import BadInput
from img2vid.settings import MAX_SEED
from img2vid.text_to_image.settings import MULTIPLE, ImageSettings, make_image_settings
from img2vid.text_to_image.versions import ImageVersion, find_image_version, load_image_versions

SCHEDULES = {"trailing": "sgm_uniform", "leading": "ddim_uniform"}
"""ComfyUI's schedules with the same noise levels, by the spacing of an image model.

ddim_uniform has more levels if the number of steps does not divide 1000.
"""


def prompt_of_image(image: ImageSettings) -> Prompt:
    """Return the part of a workflow that makes a picture."""
    versions = load_image_versions()
    # Without its row, a fine-tune has the default model's sampler. Its name is its file's.
    version = versions.get(image.model) or versions[ImageSettings.model_fields["model"].default]
    file = Path(version.checkpoint).name if image.model in versions else f"{image.model}.safetensors"
    return Prompt(
        image.prompt,
        image.negative_prompt,
        image.seed,
        image.steps,
        image.guidance,
        image.width,
        image.height,
        file,
        version.sampler,
        SCHEDULES[version.spacing],
    )


def image_of_workflow(prompt: Prompt) -> tuple[ImageSettings | None, list[str]]:
    """Return the settings, and what has no counterpart. None if the workflow's text is not a valid prompt."""
    left_out: list[str] = []
    version = _version(prompt.model, left_out)
    size = version.size_for(1024, 576)
    given = {
        "seed": prompt.seed,
        "steps": prompt.steps or version.steps,
        "guidance": prompt.cfg or version.guidance,
        "width": prompt.width or size[0],
        "height": prompt.height or size[1],
    }
    values = {name: _fitting(name, value, left_out) for name, value in given.items()}
    if prompt.sampler not in ("", version.sampler):
        left_out.append(f"image sampler {prompt.sampler}")
    if prompt.scheduler not in ("", SCHEDULES[version.spacing]):
        left_out.append(f"image scheduler {prompt.scheduler}")
    texts = {"prompt": prompt.prompt, "negative_prompt": prompt.negative}
    try:
        return make_image_settings({"model": version.name, **texts, **values}), left_out
    except BadInput as error:
        return None, [*left_out, str(error)]


def _version(file: str, left_out: list[str]) -> ImageVersion:
    for version in load_image_versions().values():
        if Path(version.checkpoint).name.casefold() == file.casefold():
            return version
    usual = find_image_version(ImageSettings.model_fields["model"].default)
    left_out.append(f"image model {file or 'from another node'} (now {usual.name})")
    return usual


def _fitting(name: str, value: float, left_out: list[str]) -> float:
    """Return the nearest valid value, or for a seed its lower 32 bits, and note the change in `left_out`."""
    about = about_of(ImageSettings.model_fields[name])
    if name == "seed":
        fitting = value % (MAX_SEED + 1)
    else:
        rounded = round(value / MULTIPLE) * MULTIPLE if name in ("width", "height") else value
        fitting = min(max(rounded, about.lowest), about.highest)
    if fitting != value:
        left_out.append(f"image {name} {value:.17g} (now {fitting:.17g})")
    return fitting
