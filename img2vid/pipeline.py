"""Pipeline from a picture and settings to a video on disk, in stages that report progress events.

torch is imported only when a model is run, so that planning a run stays fast.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

import img2vid
from img2vid.errors import BadInput, Img2VidError, OutOfMemory
from img2vid.files import all_or_none
from img2vid.inference import LoadedModel, plan_memory, release_memory
from img2vid.media.cutouts import outline_source
from img2vid.media.exports import write_animation, write_still
from img2vid.media.pictures import prepare_picture
from img2vid.media.videos import write_json, write_video
from img2vid.media.watermark import can_carry_watermark, embed_watermark
from img2vid.paths import safe_name
from img2vid.progress import OnEvent, Result, StageClock, ignore
from img2vid.settings import MAX_SEED, SampleSettings

if TYPE_CHECKING:
    from img2vid.engine import Clip, Engine, Latents, SamplerSettings


class LatentStore(Protocol):
    """Store of sampled latents until their video is on disk, so that a failed decode does not sample again."""

    def recall(self, settings: SampleSettings) -> NDArray[np.float32] | None:
        """Return the latents (T, z, h, w) that the same model sampled with these settings, or None."""
        ...

    def keep(self, settings: SampleSettings, latents: NDArray[np.float32]) -> None:
        """Store the latents of a run before they are decoded."""
        ...


def run(
    model: LoadedModel,
    picture: Image,
    settings: SampleSettings,
    folder: Path,
    *,
    name: str,
    animation: str | None = None,
    picture_sha256: str | None = None,
    image: Mapping[str, Any] | None = None,
    latent_store: LatentStore | None = None,
    on_event: OnEvent = ignore,
) -> Iterator[Result]:
    """Yield `settings.num_samples` videos of a picture, one after the other, each with the next seed.

    Every video is on disk when its result is yielded, named after the picture `name`. `animation` ("gif" or "webp")
    adds an animation file. `picture_sha256`, the checksum of the picture's file, goes into the metadata, and so
    does `image`, which is `text_to_image.pipeline.origin_of` that file.
    `latent_store` is read before sampling and written after it. An exception raised by `on_event` stops the run
    between two steps; finished videos stay.
    """
    if settings.version != model.version.name:
        raise BadInput(f"the settings are for {settings.version}, the loaded model is {model.version.name}")
    model.version.check_size(settings)
    frame = prepare_picture(
        picture,
        settings.width,
        settings.height,
        mode=settings.fitting,
        offset=settings.crop_offset,
        share=settings.object_share,
    )
    outline = outline_source(picture) if settings.fitting == "object" else None
    source = _Source(frame, safe_name(name), picture_sha256, outline, image)
    for index in range(settings.num_samples):
        one = settings.model_copy(update={"seed": (settings.seed + index) % (MAX_SEED + 1), "num_samples": 1})
        yield _run_one(model, source, one, folder, animation, latent_store, on_event)


@dataclass(frozen=True)
class _Source:
    """Conditioning frame (3, H, W) in [-1, 1], with its picture's name, checksum, `outline_source` and origin."""

    frame: NDArray[np.float32]
    name: str
    sha256: str | None
    outline: str | None
    image: Mapping[str, Any] | None


def _run_one(
    model: LoadedModel,
    source: _Source,
    settings: SampleSettings,
    folder: Path,
    animation: str | None,
    latent_store: LatentStore | None,
    on_event: OnEvent,
) -> Result:
    started = time.monotonic()
    clock = StageClock(on_event)
    memory = plan_memory(model.engine, settings)
    latents = _sample(model.engine, source.frame, settings, latent_store, clock)
    frames, decode_t = _decode(model.engine, latents, settings.decode_t, clock)
    settings = settings.model_copy(update={"decode_t": decode_t})

    clock.report("write", 0, 1)
    marked = settings.watermark and can_carry_watermark(settings.height, settings.width)
    if marked:
        frames = embed_watermark(frames)
    metadata = {**describe(model, settings, source.name, marked), "memory": memory}
    if source.sha256 is not None:
        metadata["picture_sha256"] = source.sha256
    if source.outline is not None:
        metadata["object_outline"] = source.outline
    if source.image is not None:
        metadata["image"] = dict(source.image)
    if (path := model.version.camera_path(settings)) is not None:
        metadata["camera_path"] = {"elevations": path.elevations, "azimuths": path.azimuths}
    stem = f"{source.name}_{settings.version}_seed{settings.seed}"
    with all_or_none() as written:
        video = write_video(folder / f"{stem}.mp4", frames, fps=settings.file_fps, metadata=metadata)
        still, sidecar = video.with_suffix(".png"), video.with_suffix(".json")
        animated = video.with_suffix(f".{animation}") if animation else None
        written |= {path.suffix: path for path in (video, still, sidecar, animated) if path}
        write_still(still, frames[0])
        write_json(sidecar, metadata)
        if animated is not None:
            write_animation(animated, frames, fps=settings.file_fps)
    clock.report("write", 1, 1)
    seconds = time.monotonic() - started
    notice = "; ".join(dict.fromkeys(clock.notices))
    return Result(video, still, sidecar, animated, settings.seed, seconds, metadata, notice=notice)


def _sample(
    engine: "Engine",
    frame: NDArray[np.float32],
    settings: SampleSettings,
    latent_store: LatentStore | None,
    clock: StageClock,
) -> "Latents":
    """Return latents, sampled now or stored by an earlier failed run."""
    from img2vid.engine import latents_of, sample_latents

    kept = None if latent_store is None else latent_store.recall(settings)
    if kept is not None:
        clock.notices.append("reused latents that an earlier attempt sampled")
        return latents_of(kept)
    latents = sample_latents(engine, frame, clip_of(settings, engine), clock)
    if latent_store is not None:
        latent_store.keep(settings, latents.numpy())
    return latents


def _decode(engine: "Engine", latents: "Latents", decode_t: int, clock: StageClock) -> tuple[NDArray[np.uint8], int]:
    """Return the frames and the decode_t that was used.

    Sampling takes longest, so a failed decode is retried: with half the decode_t after running out of memory, and once
    as it is after any other failure, such as a GPU fault caused by another program.
    """
    from img2vid.engine import decode_latents

    may_retry = True
    while True:
        try:
            return decode_latents(engine, latents, decode_t, clock), decode_t
        except OutOfMemory:
            if decode_t == 1:
                raise
            decode_t = max(min(decode_t, len(latents)) // 2, 1)
            notice = f"decode_t was halved to {decode_t}, because memory ran out"
        except Img2VidError:
            raise
        except Exception as error:
            if not may_retry:
                raise
            may_retry = False
            notice = f"decoding failed with {type(error).__name__} and was retried"
        # Outside of the except block, because the error refers to the memory of the failed attempt.
        release_memory()
        clock.report("decode", 0, len(latents), notice=notice)


def clip_of(settings: SampleSettings, engine: "Engine") -> "Clip":
    """Return an engine's request for the settings of one video."""
    from img2vid.engine import Clip, ConditioningSettings

    names = {"cond_aug", "num_frames", *engine.conditioned_on}
    path = settings.orbit
    values: dict[str, Any] = {**settings.model_dump(), "polars_rad": path.polars_rad, "azimuths_rad": path.azimuths_rad}
    return Clip(
        seed=settings.seed,
        conditioning=ConditioningSettings(**{name: values[name] for name in names}),
        sampler=sampler_settings(settings),
    )


def sampler_settings(settings: SampleSettings) -> "SamplerSettings":
    """Return the engine's sampler settings."""
    from img2vid.engine import SamplerSettings

    return SamplerSettings(
        sampler=settings.sampler,
        num_steps=settings.num_steps,
        sampler_params=settings.params_of(settings.sampler),
        guider=settings.guider,
        guider_params=settings.params_of(settings.guider),
        discretization=settings.discretization,
        discretization_params=settings.params_of(settings.discretization),
        **settings.approximations(),
    )


def describe(model: LoadedModel, settings: SampleSettings, picture: str, marked: bool) -> dict[str, Any]:
    """Return the metadata for the video file, sufficient to reproduce it."""
    options = model.options
    return {
        "program": f"img2vid {img2vid.__version__}",
        "picture": picture,
        "settings": settings.model_dump(),
        "watermarked": marked,
        "checkpoint": model.checkpoint.name,
        **({} if model.version.unet is None else {"unet": Path(model.version.unet).name}),
        "provider": options.provider,
        "device": options.device,
        "precision": options.precision,
        "decoder_precision": options.decoder_precision,
        "memory": options.memory,
        "compile": options.compile,
        "threads": options.threads,
    }
