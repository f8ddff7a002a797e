"""Settings of a picture made from a prompt, for the page, the command line, the store and the files' metadata."""

from collections.abc import Mapping
from functools import partial
from typing import Any, cast

from pydantic import ValidationError, field_validator, model_validator

from img2vid.control import SettingsModel, control
from img2vid.errors import BadInput
from img2vid.settings import MAX_SEED
from img2vid.settings_validation import explain

LONGEST_PROMPT = 2000
"""Characters of a prompt; the model reads far fewer."""
MOST_CANDIDATES = 8
MULTIPLE = 8
"""Pixels that the sides of a picture are multiples of."""

PARAMETERS = {
    "negative_prompt": "negative_prompt",
    "model": "image_model",
    "seed": "image_seed",
    "steps": "image_steps",
    "guidance": "image_guidance",
    "candidates": "candidates",
}
"""Names of fields on the command line and in the HTTP API. Size and watermark are those of the video."""

_image = partial(control, "picture from a prompt")


class ImageSettings(SettingsModel):
    """Validated settings of pictures made from a prompt. Each candidate uses the next seed."""

    model: str = _image("sd_xl_base_1.0", "Image model", "Model that makes the picture.")
    prompt: str = _image("", "Prompt", "What the picture shows. The model reads the first 75 tokens, about 55 words.")
    negative_prompt: str = _image(
        "", "Negative prompt", "What the picture must not show; has no effect without guidance."
    )
    seed: int = _image(
        42, "Image seed", "The same seed and settings reproduce the same picture.", lowest=0, highest=MAX_SEED
    )
    steps: int = _image(30, "Image steps", "Number of steps; more is slower and finer.", lowest=1, highest=150)
    guidance: float = _image(
        5.0, "Guidance", "How closely the picture follows the prompt; 1 is off.", lowest=1, highest=30, step=0.5
    )
    height: int = _image(576, "Image height", "Height of the picture.", unit="pixels", lowest=64, highest=2048)
    width: int = _image(1024, "Image width", "Width of the picture.", unit="pixels", lowest=64, highest=2048)
    candidates: int = _image(1, "Candidates", "Number of pictures to choose from.", lowest=1, highest=MOST_CANDIDATES)
    watermark: bool = _image(True, "Watermark", "Mark the picture invisibly as AI-generated.")

    @field_validator("prompt", "negative_prompt")
    @classmethod
    def _one_line(cls, value: str) -> str:
        """Join lines with spaces, as every tokenizer of CLIP does."""
        return " ".join(value.split())

    @model_validator(mode="after")
    def _check(self) -> "ImageSettings":
        if not self.prompt:
            raise ValueError("there is no prompt; describe the picture in a few words")
        for text in (self.prompt, self.negative_prompt):
            if len(text) > LONGEST_PROMPT or not text.isprintable():
                raise ValueError(f"a prompt must be printable text of at most {LONGEST_PROMPT} characters")
        if self.seed > MAX_SEED - (self.candidates - 1):
            raise ValueError(f"the image seed must be at most {MAX_SEED - (self.candidates - 1)}, got {self.seed}")
        for name in ("height", "width"):
            if (side := getattr(self, name)) % MULTIPLE:
                raise ValueError(f"the picture's {name} must be a multiple of {MULTIPLE}, got {side}")
        return self

    def one(self, index: int) -> "ImageSettings":
        """Return the settings of the `index`-th candidate alone."""
        return self.model_copy(update={"seed": self.seed + index, "candidates": 1})

    @property
    def name(self) -> str:
        """First words of the prompt, from which file names are made."""
        words = self.prompt.replace("/", " ").replace("\\", " ").split() or [""]
        short = words[0][:40]
        for word in words[1:]:
            if len(short) + len(word) >= 40:
                break
            short += f" {word}"
        return short.strip(" ,.;:") or "picture"


def make_image_settings(values: Mapping[str, Any]) -> ImageSettings:
    """Validate plain values. Raise BadInput for the first invalid one."""
    try:
        return ImageSettings(**values)
    except ValidationError as error:
        problem = error.errors()[0]
        words = explain(problem, ImageSettings)
        names_field = problem["loc"] and problem["loc"][0] in ImageSettings.model_fields
        raise BadInput(f"the picture's {words}" if names_field else words) from error


def image_settings_of(metadata: Mapping[str, Any]) -> ImageSettings | None:
    """Return the settings of the picture in the metadata of a video, None if they are missing or invalid."""
    found = metadata.get("image")
    if not isinstance(found, dict):
        return None
    values = cast("dict[str, Any]", found)
    try:
        return make_image_settings({name: values[name] for name in ImageSettings.model_fields if name in values})
    except (BadInput, TypeError, ValueError, RecursionError):  # values that JSON cannot hold
        return None
