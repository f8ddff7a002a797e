"""Pictures from prompts with SDXL checkpoints in Stability's single file, run by diffusers.

diffusers and transformers are optional and slow to import, so they are imported when a model is loaded. Configuration
and vocabulary come from this program and open_clip; nothing is downloaded.
"""

import importlib
import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from img2vid.checkpoints.header import foreign_kind, read_header
from img2vid.documents import read_yaml
from img2vid.engine.interface import DTYPES
from img2vid.engine.loading import make_device
from img2vid.engine.memory.accounting import weight_bytes
from img2vid.engine.memory.device import free_on_card, out_of_memory_explained
from img2vid.engine.memory.plans import GB
from img2vid.engine.preview import LatentPreview
from img2vid.engine.threads import use_threads
from img2vid.errors import CheckpointError, ConfigError, NotFinite, is_out_of_memory, shown
from img2vid.files import reason
from img2vid.options import LoadOptions, MemoryPlan
from img2vid.progress import StageClock
from img2vid.remedies import require_text

PARTS = {
    "text_encoder": ("transformers", "CLIPTextModel"),
    "text_encoder_2": ("transformers", "CLIPTextModelWithProjection"),
    "unet": ("diffusers", "UNet2DConditionModel"),
    "vae": ("diffusers", "AutoencoderKL"),
    "scheduler": ("diffusers", "EulerDiscreteScheduler"),
    "tokenizer": ("transformers", "CLIPTokenizer"),
    "tokenizer_2": ("transformers", "CLIPTokenizer"),
}
"""Library and class of each component."""
SAMPLERS = {"euler": "EulerDiscreteScheduler", "euler_ancestral": "EulerAncestralDiscreteScheduler"}
START, END = "<|startoftext|>", "<|endoftext|>"
MOST_TOKENS = 77
WORKING_MEMORY = 3 * GB
"""Assumed GPU memory for activations at about a megapixel; the decoder, in float32, needs most."""
CHART = 16
"""Squares along each side of the picture that the preview is fitted to."""


@dataclass(frozen=True)
class Recipe:
    """Architecture, a YAML file, and sampler of a model. spacing: diffusers' timestep_spacing."""

    config: Path
    sampler: str
    spacing: str


@dataclass(frozen=True)
class PictureRequest:
    """Settings of one picture. guidance: 1 is off."""

    prompt: str
    negative_prompt: str
    seed: int
    steps: int
    guidance: float
    height: int
    width: int


class TextToImage:
    """Loaded model. `memory` is the plan by which its parts are kept on the GPU."""

    def __init__(self, pipeline: Any, device: torch.device, memory: MemoryPlan) -> None:
        self._pipeline, self._device, self.memory = pipeline, device, memory
        self._preview = _fit_preview(pipeline.vae)
        if memory == "stages":
            pipeline.enable_model_cpu_offload(device=device)
        elif memory == "blocks":
            pipeline.enable_sequential_cpu_offload(device=device)
        else:
            pipeline.to(device)

    def make(self, request: PictureRequest, clock: StageClock) -> NDArray[np.uint8]:
        """Return a picture (H, W, 3). An exception raised by the receiver of an event stops the run.

        One CPU generator, seeded with the request's seed, draws the initial latents, then the noise that the sampler
        adds. Raise OutOfMemory or NotFinite.
        """
        latents = self._sample(request, clock)
        clock.report("decode", 0, 1)
        with out_of_memory_explained("decode"):
            picture = self._decode(latents, clock)
        _require_finite(picture, "pixels")
        clock.report("decode", 1, 1)
        return ((picture.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).contiguous().numpy()

    def _sample(self, request: PictureRequest, clock: StageClock) -> Tensor:
        """Return latents (1, z, h, w) in float32 on the CPU."""
        pipeline = self._pipeline
        clock.report("prompt", 0, 1)
        self._warn_of_long_prompts(request, clock)
        generator = torch.Generator().manual_seed(request.seed)
        f = pipeline.vae_scale_factor
        channels = pipeline.unet.config.in_channels
        noise = torch.randn(1, channels, request.height // f, request.width // f, generator=generator)
        step = 0

        def on_step(denoised: Tensor, sigma: float) -> None:
            nonlocal step
            step += 1
            _require_finite(denoised, "latents")
            clock.report("sample", step, request.steps, sigma=sigma, frames=self._preview(denoised))

        _watch_steps(pipeline.scheduler, on_step)
        try:
            with out_of_memory_explained("sample"):
                latents = pipeline(
                    prompt=request.prompt,
                    negative_prompt=request.negative_prompt,
                    height=request.height,
                    width=request.width,
                    num_inference_steps=request.steps,
                    guidance_scale=request.guidance,
                    generator=generator,
                    latents=noise.to(pipeline.unet.dtype),
                    output_type="latent",
                ).images
        finally:
            pipeline.maybe_free_model_hooks()  # an interrupted run leaves its parts on the GPU
        return latents.float().cpu()

    @torch.no_grad()  # accelerate cannot move parts in inference mode
    def _decode(self, latents: Tensor, clock: StageClock) -> Tensor:
        """Return the picture (3, H, W) in [-1, 1] on the CPU; in tiles if memory is short."""
        vae = self._pipeline.vae
        scaled = (latents / vae.config.scaling_factor).to(self._device)
        try:
            picture = vae.decode(scaled, return_dict=False)[0][0].float().cpu()
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            picture = None
        if picture is None:  # outside of the except block, because the error refers to the memory of the attempt
            clock.report("decode", 0, 1, notice="the picture was decoded in tiles, because memory ran out")
            vae.enable_tiling()
            try:
                picture = vae.decode(scaled, return_dict=False)[0][0].float().cpu()
            finally:
                vae.disable_tiling()
        self._pipeline.maybe_free_model_hooks()
        return picture

    def _warn_of_long_prompts(self, request: PictureRequest, clock: StageClock) -> None:
        for name, text in (("prompt", request.prompt), ("negative prompt", request.negative_prompt)):
            count = len(self._pipeline.tokenizer(text, truncation=False, verbose=False).input_ids)
            if count > MOST_TOKENS:
                notice = f"the {name} has {count - 2} tokens, of which the model reads the first {MOST_TOKENS - 2}"
                clock.report("prompt", 0, 1, notice=notice)


def load_text_to_image(checkpoint: Path, recipe: Recipe, options: LoadOptions, clock: StageClock) -> TextToImage:
    """Load a model; `options` contain no `auto`, except for `memory`.

    Raise EngineUnavailable if packages are missing, and ConfigError, CheckpointError, BadInput or OutOfMemory.
    """
    require_text()
    device = make_device(options.device)
    use_threads(options.threads)
    kind = foreign_kind(read_header(checkpoint), "sdxl")
    if kind is not None:
        raise CheckpointError(f"{checkpoint} is {kind}; choose another file")
    diffusers = _import_diffusers()
    clock.report("load", 0, 2)
    with out_of_memory_explained("load"), tempfile.TemporaryDirectory(prefix="img2vid-") as name:
        folder = Path(name)
        _write_configuration(recipe, folder)
        try:
            pipeline = diffusers.StableDiffusionXLPipeline.from_single_file(
                str(checkpoint),
                config=str(folder),
                local_files_only=True,
                torch_dtype=DTYPES[options.precision],
                add_watermarker=False,
            )
        except (KeyError, ValueError, RuntimeError, AttributeError) as error:
            if is_out_of_memory(error):
                raise
            why = shown(" ".join(str(error).split()))
            message = f"{checkpoint} does not fit {recipe.config} ({why}); choose another file"
            raise CheckpointError(message) from error
    clock.report("load", 1, 2)
    sampler = getattr(diffusers, SAMPLERS[recipe.sampler])
    pipeline.scheduler = sampler.from_config(pipeline.scheduler.config, timestep_spacing=recipe.spacing)
    pipeline.set_progress_bar_config(disable=True)
    pad_with_zero(pipeline.tokenizer_2)
    pipeline.vae.to(torch.float32)  # the autoencoder overflows in float16
    with out_of_memory_explained("load"):
        model = TextToImage(pipeline, device, choose_memory(pipeline, device, options.memory))
    clock.report("load", 2, 2)
    return model


def choose_memory(pipeline: Any, device: torch.device, wanted: MemoryPlan) -> MemoryPlan:
    """Return the first plan that fits into the free memory of a GPU, or the wanted one. Other devices have one plan."""
    if device.type != "cuda":
        return "resident"
    if wanted != "auto":
        return wanted
    sizes = [weight_bytes(getattr(pipeline, name)) for name in ("text_encoder", "text_encoder_2", "unet", "vae")]
    return plan_for(free_on_card(device), sum(sizes), max(sizes))


def plan_for(free: int, whole: int, largest: int) -> MemoryPlan:
    """Return the first plan that fits into `free` bytes for a model of `whole` bytes, with its largest part."""
    if free >= whole + WORKING_MEMORY:
        return "resident"
    return "stages" if free >= largest + WORKING_MEMORY / 2 else "blocks"


def _import_diffusers() -> Any:
    diffusers: Any = importlib.import_module("diffusers")
    for library in ("diffusers", "transformers"):
        logging: Any = importlib.import_module(f"{library}.utils.logging")
        logging.set_verbosity_error()
        with suppress(AttributeError):
            logging.disable_progress_bar()
    return diffusers


def _write_configuration(recipe: Recipe, folder: Path) -> None:
    """Write the configuration files that diffusers reads, and the vocabulary, to an empty folder."""
    try:
        sections: dict[str, Any] = read_yaml(recipe.config, error=ConfigError)
        names = ("text_encoder", "text_encoder_2", "unet", "vae", "scheduler")
        parts: dict[str, dict[str, Any]] = {name: dict(sections[name]) for name in names}
    except OSError as error:
        raise ConfigError(f"cannot read {recipe.config} ({reason(error)})") from error
    except KeyError as error:
        raise ConfigError(f"{recipe.config} has no section {error}; see configs/sdxl.yaml") from error
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{recipe.config} has a section without fields; see configs/sdxl.yaml") from error
    index = {"_class_name": "StableDiffusionXLPipeline", "force_zeros_for_empty_prompt": True}
    _write(folder / "model_index.json", {**index, **PARTS})
    for name, values in parts.items():
        file = "scheduler_config.json" if name == "scheduler" else "config.json"
        _write(folder / name / file, {"_class_name": PARTS[name][1], **values})
    for name in ("tokenizer", "tokenizer_2"):
        write_tokenizer(folder / name)


def write_tokenizer(folder: Path) -> None:
    """Write the files of CLIP's tokenizer in the form of transformers, from open_clip's vocabulary."""
    open_clip: Any = importlib.import_module("open_clip")
    known: Any = open_clip.tokenizer.SimpleTokenizer()
    words = [*known.encoder][:-2]  # the last two are open_clip's names of START and END
    _write(folder / "vocab.json", {word: number for number, word in enumerate([*words, START, END])})
    merges = [" ".join(pair) for pair in sorted(known.bpe_ranks, key=known.bpe_ranks.__getitem__)]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    special = {"bos_token": START, "eos_token": END, "unk_token": END, "pad_token": END}
    _write(folder / "special_tokens_map.json", special)
    options = {"tokenizer_class": "CLIPTokenizer", "model_max_length": MOST_TOKENS, "do_lower_case": True}
    _write(folder / "tokenizer_config.json", {**options, **special})


def pad_with_zero(tokenizer: Any) -> None:
    """Make a tokenizer pad with token 0 instead of the end token, as the second text encoder was trained.

    Token 0 is "!", which must not be the tokenizer's own padding: it would then mean padding inside a prompt too.
    """

    original: Any = tokenizer.__class__

    class Padded(original):
        def __call__(self, *arguments: Any, **options: Any) -> Any:
            found: Any = original.__call__(self, *arguments, **options)
            if isinstance(found.input_ids, Tensor):
                ends = (found.input_ids == self.eos_token_id).int()
                found["input_ids"] = found.input_ids.masked_fill(ends.cumsum(1) > ends, 0)
            return found

    tokenizer.__class__ = Padded


def _write(path: Path, values: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, ensure_ascii=False), encoding="utf-8")


def _watch_steps(scheduler: Any, on_step: Callable[[Tensor, float], None]) -> None:
    """Call `on_step` after each step with the estimate of the clean latents and the noise level."""
    original: Any = scheduler.__class__.step.__get__(scheduler)  # not that of an earlier picture

    @wraps(original)
    def step(*arguments: Any, **options: Any) -> Any:
        done = original(*arguments, **options)
        on_step(done[1], float(scheduler.sigmas[scheduler.step_index]))
        return done

    scheduler.step = step


@torch.no_grad()
def _fit_preview(vae: Any) -> LatentPreview:
    """Fit the preview to a chart of random colors, which any autoencoder encodes."""
    squares = torch.rand(1, 3, CHART, CHART, generator=torch.Generator().manual_seed(0)) * 2 - 1
    chart = torch.nn.functional.interpolate(squares, scale_factor=8, mode="bilinear")
    latents = vae.encode(chart.to(vae.dtype)).latent_dist.mode() * vae.config.scaling_factor
    return LatentPreview.fit(chart, latents)


def _require_finite(values: Tensor, name: str) -> None:
    if not torch.isfinite(values).all():
        raise NotFinite(f"the {name} contain NaN or infinity; choose precision fp32 or bf16")
