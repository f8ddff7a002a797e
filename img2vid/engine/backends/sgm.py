"""The sgm engine: a thin adapter over the installed reference package, over its own classes only.

It computes what `sgm` computes, for whoever wants the reference itself or has a fork of it. The configuration is handed
to `sgm` after the same check as for the native engine, with three changes that alter no result: attention that needs
the package xformers becomes the one that does not, no CLIP weights are downloaded only to be overwritten by the
checkpoint's, and activations are not recomputed, which serves training alone.
"""

import contextlib
import importlib
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from img2vid.engine.config import DiffusionConfig, load_tree
from img2vid.engine.decoding import in_chunks
from img2vid.engine.interface import DTYPES, Conditioning, LoadOptions, OnStep, SamplerSettings, StepInfo
from img2vid.engine.model import build_meta
from img2vid.engine.sampling.validation import check_sampler_settings
from img2vid.engine.weights.checkpoint import read_tensors
from img2vid.engine.weights.shared_modules import Parts
from img2vid.errors import BadInput, EngineUnavailable

PICTURE_KEYS = ["cond_frames", "cond_frames_without_noise"]
"""What is zeroed in the unconditional twin."""
REPLACED: Mapping[str, Any] = {"softmax-xformers": "softmax", "vanilla-xformers": "vanilla"}
MODULES = (
    "sgm.util",
    "sgm.models.diffusion",
    "sgm.modules.diffusionmodules.sampling",
    "sgm.modules.diffusionmodules.guiders",
    "sgm.modules.diffusionmodules.discretizer",
)


def import_sgm() -> Any:
    """`sgm.util`, after all that is needed of `sgm` was imported; else EngineUnavailable with the way to mend it."""
    try:
        with _quiet():
            modules = [importlib.import_module(name) for name in MODULES]
        return modules[0]
    except Exception as error:  # a broken install fails in any way it likes
        reason = " ".join(str(error).split())
        raise EngineUnavailable(
            f"the sgm engine cannot run here: importing sgm failed with {type(error).__name__}: {reason}; "
            "`python -m pip install -r requirements/sgm.txt` mends it, or choose the native engine"
        ) from error


class SgmEngine:
    """Implements `img2vid.engine.interface.Engine` with `sgm`'s network, conditioner, first stage and samplers."""

    def __init__(self, model: Any, config: DiffusionConfig, device: torch.device, dtype: torch.dtype) -> None:
        self.model = model
        self.device = device
        self.dtype = dtype
        self.scale_factor = config.scale_factor
        self.size_step = config.size_step
        self.downsampling = config.first_stage.downsampling
        self.latent_channels = config.network_config.out_channels
        self.parts: Parts = {}

    @classmethod
    def load(cls, options: LoadOptions) -> "SgmEngine":
        """Builds the reference's model and fills it; what is checked of the file is what the native engine checks."""
        _require_plain(options)
        util = import_sgm()
        expected = build_meta(options.config, options.config_path.parent)
        expected.drop_unused()
        tensors = read_tensors(options.checkpoint, expected.weights(), options.allow_pickle, options.on_bytes)
        _register_clip(options.config_path.parent)
        tree = adapt(load_tree(options.config_path))
        with _quiet():
            model = util.instantiate_from_config(tree["model"]).eval().requires_grad_(False)
        # Parts that sampling does not use may be missing from the file; those it does use were checked above.
        model.load_state_dict(dict(tensors), strict=False)
        dtype = DTYPES[options.precision]
        model.model.to(dtype)
        return cls(model.to(options.device), options.config, options.device, dtype)

    @torch.inference_mode()
    def condition(
        self,
        image: Tensor,
        *,
        cond_noise: Tensor,
        cond_aug: float,
        motion_bucket_id: float,
        fps: float,
        num_frames: int,
    ) -> tuple[Conditioning, Conditioning]:
        """See `Engine.condition`."""
        image, cond_noise = image.to(self.device), cond_noise.to(self.device)

        def number(value: float) -> Tensor:
            return torch.tensor([value], dtype=torch.float32, device=self.device)

        batch = {
            "cond_frames_without_noise": image,
            "cond_frames": image + cond_aug * cond_noise,
            "fps_id": number(fps - 1),
            "motion_bucket_id": number(motion_bucket_id),
            "cond_aug": number(cond_aug),
        }
        pair = self.model.conditioner.get_unconditional_conditioning(batch, force_uc_zero_embeddings=PICTURE_KEYS)
        cond, uncond = (_repeat(cast(dict[str, Tensor], part), num_frames) for part in pair)
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
        """See `Engine.sample`. The state stays on the CPU: there sgm draws the same noise on any machine."""
        check_sampler_settings(settings)
        if settings.sampler_params.get("eta") == 0:
            raise BadInput(f"{settings.sampler} of sgm cannot run with eta 0; choose a small eta or the native engine")
        _refuse_approximations(settings)
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
        """sgm's network in the format of its weights; the noise level stays exact."""
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
        """See `Engine.decode`. Always in float32, so that there is nothing to notice."""
        return in_chunks(latents.to(self.device), decode_t, self.model.decode_first_stage, on_chunk)


def _refuse_approximations(settings: SamplerSettings) -> None:
    """A run that is exact although an approximation was asked for would be taken for an approximation as good."""
    exact = SamplerSettings()
    for name in ("guidance_sigma_min", "guidance_sigma_max", "block_cache"):
        value, usual = getattr(settings, name), getattr(exact, name)
        if value != usual:
            raise BadInput(
                f"the sgm engine has no approximations, got {name} {value}; "
                f"leave it at {usual} or choose the native engine"
            )


def _require_plain(options: LoadOptions) -> None:
    """Raises BadInput for what only the native engine can do."""
    if options.memory != "resident":
        raise BadInput(
            f"memory {options.memory} is not for the sgm engine; choose memory resident or the native engine"
        )
    if options.decoder_precision != "fp32":
        raise BadInput(
            f"decoder_precision {options.decoder_precision} is not for the sgm engine, which decodes in float32; "
            "choose decoder_precision fp32 or the native engine"
        )
    if options.compile:
        raise BadInput("compile is not for the sgm engine; leave it out or choose the native engine")


def make_sampler(settings: SamplerSettings, num_frames: int) -> Any:
    """`sgm`'s sampler with its guider and discretization, on the CPU."""
    guider_params = dict(settings.guider_params)
    if settings.guider in ("LinearPredictionGuider", "TrianglePredictionGuider"):
        guider_params["num_frames"] = num_frames
    if isinstance(guider_params.get("period"), int):
        guider_params["period"] = float(guider_params["period"])  # sgm takes a whole number for a list
    make = getattr(importlib.import_module("sgm.modules.diffusionmodules.sampling"), settings.sampler)
    return make(
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
    """The configuration as `sgm` can run it anywhere; see the top of this file."""
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
    """Tells open_clip of the architectures beside the configuration; `sgm` names them to it."""
    import open_clip  # pyright: ignore[reportMissingTypeStubs]

    if (folder / "clip").is_dir():
        cast(Any, open_clip).add_model_config(folder / "clip")


def _repeat(part: dict[str, Tensor], num_frames: int) -> Conditioning:
    """One row for every frame."""
    rows = {key: value.float().expand(num_frames, *value.shape[1:]) for key, value in part.items()}
    return Conditioning(rows["crossattn"], rows["concat"], rows["vector"])


def _observe(sampler: Any, num_steps: int, on_step: OnStep | None) -> None:
    """Lets `on_step` see each step: sgm's samplers ask for the number of the next step when one is done."""
    if on_step is None:
        return
    guider = sampler.guider
    sigmas = sampler.discretization(num_steps, device="cpu")
    latest: list[Tensor] = []

    class Watcher:
        """The guider, which also remembers what it returned last."""

        prepare_inputs = guider.prepare_inputs

        def __call__(self, x: Tensor, sigma: Tensor) -> Tensor:
            latest[:] = [guider(x, sigma)]
            return latest[0]

    def steps(count: int) -> Iterator[int]:
        for index in range(count - 1):
            yield index
            on_step(StepInfo(index + 1, num_steps, float(sigmas[index + 1]), latest[0]))

    sampler.guider = Watcher()
    sampler.get_sigma_gen = steps


@contextlib.contextmanager
def _drawing_from(generator: torch.Generator | None) -> Generator[None, None, None]:
    """Within this, torch's global generator on the CPU, which sgm's samplers use, goes on from `generator`."""
    if generator is None:
        yield
        return
    with cast(Any, torch.random).fork_rng(devices=[]):
        torch.set_rng_state(generator.get_state())
        yield
        generator.set_state(torch.get_rng_state())


@contextlib.contextmanager
def _quiet() -> Generator[None, None, None]:
    """sgm prints while it builds; standard output is for results."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
