"""sgm engine: a thin adapter over the classes of the installed reference package.

It serves users of the reference itself or of a fork. The configuration is validated as for the native engine and
passed to `sgm` with three changes that do not affect results: attention without the xformers package, no download of
CLIP weights that the checkpoint overwrites, and no activation checkpointing, which only training uses.
"""

import contextlib
import importlib
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from img2vid.engine.config import DiffusionConfig
from img2vid.engine.config_tree import load_tree
from img2vid.engine.decoding import in_chunks
from img2vid.engine.interface import (
    DTYPES,
    Conditioning,
    ConditioningSettings,
    ModelSource,
    OnBytes,
    OnStep,
    Parts,
    SamplerSettings,
    StepInfo,
    conditioned_on,
)
from img2vid.engine.model import build_meta
from img2vid.engine.sampling.validation import check_sampler_settings
from img2vid.engine.weights.checkpoint import read_tensors, require_finite, value_range
from img2vid.errors import BadInput, EngineUnavailable
from img2vid.options import NATIVE_ONLY, LoadOptions

PICTURE_KEYS = ["cond_frames", "cond_frames_without_noise"]
"""Input keys whose embeddings are zero in the unconditional conditioning."""
REPLACED: Mapping[str, Any] = {"softmax-xformers": "softmax", "vanilla-xformers": "vanilla"}
MODULES = (
    "sgm.util",
    "sgm.models.diffusion",
    "sgm.modules.diffusionmodules.sampling",
    "sgm.modules.diffusionmodules.guiders",
    "sgm.modules.diffusionmodules.discretizer",
)


def import_sgm() -> Any:
    """Import the required modules of `sgm` and return `sgm.util`; raise EngineUnavailable on failure."""
    try:
        with _quiet():
            modules = [importlib.import_module(name) for name in MODULES]
        return modules[0]
    except Exception as error:  # a broken installation raises arbitrary exceptions
        reason = " ".join(str(error).split())
        raise EngineUnavailable(
            f"the sgm engine cannot run here: importing sgm failed with {type(error).__name__}: {reason}; "
            "run `python -m pip install -r requirements/sgm.txt`, or choose the native engine"
        ) from error


class SgmEngine:
    """Implementation of `img2vid.engine.interface.Engine` with the network, conditioner and samplers of `sgm`."""

    def __init__(self, model: Any, config: DiffusionConfig, device: torch.device, dtype: torch.dtype) -> None:
        self.model = model
        self.device = device
        self.dtype = dtype
        self.scale_factor = config.scale_factor
        self.size_step = config.size_step
        self.downsampling = config.first_stage.downsampling
        self.latent_channels = config.network_config.out_channels
        self.input_keys = config.input_keys
        self.conditioned_on = conditioned_on(config.input_keys)
        self.parts: Parts = {}

    @classmethod
    def load(cls, source: ModelSource, on_bytes: OnBytes | None = None) -> "SgmEngine":
        """Build the reference's model and load its weights; the file is validated as for the native engine."""
        _check_options(source.options)
        util = import_sgm()
        expected = build_meta(source.config, source.config_path.parent)
        expected.drop_unused()
        weights = expected.weights()
        allow_pickle = source.options.allow_pickle
        tensors = dict(read_tensors(source.checkpoint, weights, allow_pickle, on_bytes, unet=source.unet))
        require_finite(source, weights, {name: value_range(tensor) for name, tensor in tensors.items()})
        _register_clip(source.config_path.parent)
        tree = adapt(load_tree(source.config_path))
        with _quiet():
            model = util.instantiate_from_config(tree["model"]).eval().requires_grad_(False)
        # Modules that sampling does not use may be missing from the file; the others were checked above.
        model.load_state_dict(tensors, strict=False)
        device, dtype = torch.device(source.options.device), DTYPES[source.options.precision]
        model.model.to(dtype)
        return cls(model.to(device), source.config, device, dtype)

    @torch.inference_mode()
    def condition(
        self,
        image: Tensor,
        settings: ConditioningSettings,
        *,
        cond_noise: Tensor,
    ) -> tuple[Conditioning, Conditioning]:
        """See `Engine.condition`."""
        image, cond_noise = image.to(self.device), cond_noise.to(self.device)

        batch = {
            "cond_frames_without_noise": image,
            "cond_frames": image + settings.cond_aug * cond_noise,
            **{
                key: torch.tensor(values, device=self.device)
                for key, values in settings.numbers(self.input_keys).items()
            },
        }
        pair = self.model.conditioner.get_unconditional_conditioning(batch, force_uc_zero_embeddings=PICTURE_KEYS)
        cond, uncond = (_repeat(cast(dict[str, Tensor], part), settings.num_frames) for part in pair)
        return cond, uncond

    @torch.inference_mode()
    def sample(
        self,
        noise: Tensor,
        cond: Conditioning,
        uncond: Conditioning,
        settings: SamplerSettings,
        *,
        on_step: OnStep | None = None,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """See `Engine.sample`. The state stays on the CPU, where sgm draws the same noise on any machine."""
        check_sampler_settings(settings)
        if settings.sampler_params.get("eta") == 0:
            raise BadInput(f"sgm's {settings.sampler} does not support eta 0; choose a small eta or the native engine")
        _check_no_approximations(settings)
        num_frames = len(noise)
        sampler = make_sampler(settings, num_frames)
        _observe(sampler, settings.num_steps, on_step)

        def denoise(x: Tensor, sigma: Tensor, c: dict[str, Tensor]) -> Tensor:
            clips = len(x) // num_frames
            denoised = self.model.denoiser(
                self._network,
                x.to(self.device),
                sigma.to(self.device),
                c,
                num_video_frames=num_frames,
                image_only_indicator=torch.zeros(clips, num_frames, device=self.device),
            )
            return denoised.cpu()

        with _drawing_from(generator):
            return sampler(denoise, noise.cpu().clone(), vars(cond), uc=vars(uncond))

    def _network(self, x: Tensor, c_noise: Tensor, c: dict[str, Tensor], **more: Any) -> Tensor:
        """Run sgm's network in the format of its weights; the noise level stays in float32."""
        cast_c = {key: value.to(self.dtype) for key, value in c.items()}
        return self.model.model(x.to(self.dtype), c_noise, cast_c, **more).float()

    @torch.inference_mode()
    def decode(
        self,
        latents: Tensor,
        decode_t: int,
        on_chunk: Callable[[int, int], None] | None = None,
        on_notice: Callable[[str], None] | None = None,
    ) -> Tensor:
        """See `Engine.decode`. Always decodes in float32, so `on_notice` is never called."""
        return in_chunks(latents.to(self.device), decode_t, self.model.decode_first_stage, on_chunk)


def _check_no_approximations(settings: SamplerSettings) -> None:
    """Raise BadInput for approximations, instead of silently ignoring them."""
    exact = SamplerSettings()
    for name in ("guidance_sigma_min", "guidance_sigma_max", "block_cache"):
        value, default = getattr(settings, name), getattr(exact, name)
        if value != default:
            raise BadInput(
                f"the sgm engine has no approximations, got {name} {value}; "
                f"leave it at {default} or choose the native engine"
            )


def _check_options(options: LoadOptions) -> None:
    """Raise BadInput for options that only the native engine supports."""
    for name, plain in NATIVE_ONLY.items():
        value = getattr(options, name)
        if value != plain:
            raise BadInput(
                f"the sgm engine does not support {name} {value}; leave it at {plain} or choose the native engine"
            )


def make_sampler(settings: SamplerSettings, num_frames: int) -> Any:
    """Return `sgm`'s sampler with its guider and discretization, on the CPU."""
    guider_params = dict(settings.guider_params)
    if settings.guider in ("LinearPredictionGuider", "TrianglePredictionGuider"):
        guider_params["num_frames"] = num_frames
    if isinstance(guider_params.get("period"), int):
        guider_params["period"] = float(guider_params["period"])  # sgm handles an int like a list
    sampling = importlib.import_module("sgm.modules.diffusionmodules.sampling")
    discretizer = importlib.import_module("sgm.modules.diffusionmodules.discretizer")
    for module, name in ((sampling, settings.sampler), (discretizer, settings.discretization)):
        if not hasattr(module, name):
            raise BadInput(f"sgm has no {name}; choose another one or the native engine")
    return getattr(sampling, settings.sampler)(
        num_steps=settings.num_steps,
        guider_config={"target": f"sgm.modules.diffusionmodules.guiders.{settings.guider}", "params": guider_params},
        discretization_config={
            "target": f"sgm.modules.diffusionmodules.discretizer.{settings.discretization}",
            "params": dict(settings.discretization_params),
        },
        device="cpu",
        **settings.sampler_params,
    )


def adapt(node: Any) -> Any:
    """Return the configuration with the changes described at the top of this module."""
    if isinstance(node, dict):
        changed = {key: adapt(value) for key, value in cast(dict[str, Any], node).items()}
        for key in ("ckpt_path", "sampler_config"):
            changed.pop(key, None)
        if "use_checkpoint" in changed:
            changed["use_checkpoint"] = False
        if str(changed.get("target", "")).endswith("FrozenOpenCLIPImageEmbedder"):
            changed["params"] = {**(changed.get("params") or {}), "version": None}
        return changed
    if isinstance(node, list):
        return [adapt(value) for value in cast(list[Any], node)]
    return REPLACED.get(node, node) if isinstance(node, str) else node


def _register_clip(folder: Path) -> None:
    """Register the architectures beside the configuration with open_clip, so that `sgm` can use them."""
    import open_clip  # pyright: ignore[reportMissingTypeStubs]

    if (folder / "clip").is_dir():
        cast(Any, open_clip).add_model_config(folder / "clip")


def _repeat(part: dict[str, Tensor], num_frames: int) -> Conditioning:
    """Repeat the image's part of the conditioning for every frame; the vector has one row a frame."""
    rows = {key: value.float().expand(num_frames, *value.shape[1:]) for key, value in part.items()}
    return Conditioning(rows["crossattn"], rows["concat"], rows["vector"])


def _observe(sampler: Any, num_steps: int, on_step: OnStep | None) -> None:
    """Call `on_step` after each step, when sgm's sampler requests the next index from its step generator."""
    if on_step is None:
        return
    guider = sampler.guider
    sigmas = sampler.discretization(num_steps, device="cpu")
    latest: list[Tensor] = []

    class RecordingGuider:
        """Guider that also keeps its latest result."""

        prepare_inputs = guider.prepare_inputs

        def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
            latest[:] = [guider(x, sigma)]
            return latest[0]

    def steps(count: int) -> Iterator[int]:
        for index in range(count - 1):
            yield index
            on_step(StepInfo(index + 1, num_steps, float(sigmas[index + 1]), latest[0]))

    sampler.guider = RecordingGuider()
    sampler.get_sigma_gen = steps


@contextlib.contextmanager
def _drawing_from(generator: torch.Generator | None) -> Generator[None, None, None]:
    """Use `generator` as torch's global CPU generator, from which sgm's samplers draw, and update its state."""
    if generator is None:
        yield
        return
    with cast(Any, torch.random).fork_rng(devices=[]):
        torch.set_rng_state(generator.get_state())
        yield
        generator.set_state(torch.get_rng_state())


@contextlib.contextmanager
def _quiet() -> Generator[None, None, None]:
    """Redirect the output that sgm prints to standard error; standard output is for results."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
