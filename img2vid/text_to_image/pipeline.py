"""Pipeline from a prompt to a picture: a PNG file that carries its settings.

torch and diffusers are imported only when a model is loaded, so that planning a run stays fast.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import img2vid
from img2vid.documents import parse_json
from img2vid.errors import BadInput, shown
from img2vid.media.exports import as_png
from img2vid.media.png import SIGNATURE, png_texts, with_text
from img2vid.media.watermark import can_carry_watermark, embed_watermark
from img2vid.options import LoadOptions
from img2vid.progress import OnEvent, StageClock, ignore
from img2vid.text_to_image.settings import ImageSettings, image_settings_of
from img2vid.text_to_image.versions import ImageVersion

if TYPE_CHECKING:
    from img2vid.engine import Parts
    from img2vid.engine.text_to_image import TextToImage

KEYWORD = "img2vid"
"""Keyword of the PNG file's text chunk."""


@dataclass(frozen=True)
class LoadedImageModel:
    """Model in memory; see `inference.LoadedModel`. It shares no modules."""

    engine: "TextToImage"
    version: ImageVersion
    options: LoadOptions
    checkpoint: Path
    advice: str = ""
    parts: "Parts" = field(default_factory=dict[str, Any])


def load_image_model(
    version: ImageVersion, options: LoadOptions, on_event: OnEvent = ignore, spare: "Parts | None" = None
) -> LoadedImageModel:
    """Load a model; `options` contains no `auto` except for `memory`. Nothing in `spare` is reused.

    Raise EngineUnavailable if optional packages are missing, and CheckpointError, ConfigError, BadInput or OutOfMemory.
    """
    checkpoint = version.require_checkpoint()
    from img2vid.engine.text_to_image import Recipe, load_text_to_image

    recipe = Recipe(version.config_path, version.sampler, version.spacing)
    engine = load_text_to_image(checkpoint, recipe, options, StageClock(on_event))
    return LoadedImageModel(engine, version, options, checkpoint)


def make_picture(model: LoadedImageModel, image: ImageSettings, on_event: OnEvent = ignore) -> bytes:
    """Return a picture as a PNG file with its settings; see `origin_of`.

    An exception raised by `on_event` stops the run between two steps.
    """
    from img2vid.engine.text_to_image import PictureRequest

    clock = StageClock(on_event)
    request = PictureRequest(
        image.prompt, image.negative_prompt, image.seed, image.steps, image.guidance, image.height, image.width
    )
    picture = model.engine.make(request, clock)
    clock.report("write", 0, 1)
    if image.watermark and can_carry_watermark(image.height, image.width):
        picture = embed_watermark(picture[None])[0]
    values = image.model_copy(update={"candidates": 1}).model_dump()
    facts = {"program": f"img2vid {img2vid.__version__}", "image": {**values, "checkpoint": model.checkpoint.name}}
    data = with_text(as_png(picture), KEYWORD, json.dumps(facts))
    clock.report("write", 1, 1)
    return data


def origin_of(picture: bytes) -> Mapping[str, Any] | None:
    """Return the settings and the checkpoint of a picture that `make_picture` made, None for any other file.

    `image_settings_of` validates them in the metadata of a video, where they are under "image".
    """
    text = png_texts(picture).get(KEYWORD) if picture.startswith(SIGNATURE) else None
    try:
        found: object = None if text is None else parse_json(text, "the picture")
    except BadInput:
        return None
    metadata = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    settings = image_settings_of(metadata)
    if settings is None:
        return None
    return {**settings.model_dump(), "checkpoint": shown(metadata["image"].get("checkpoint", ""))}
