"""Each engine reproduces every tensor recorded from the reference with a relative error of at most 1e-4."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from golden_models import CPU, NAMES, GoldenModel, golden_model, relative_error
from safetensors.torch import load_file
from torch import Tensor

from img2vid.engine import Conditioning, Engine, StepInfo, resolve
from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.config import load_config
from img2vid.engine.interface import ModelSource
from img2vid.engine.model import build_meta
from img2vid.engine.sampling.discretization import make_sigmas

RUNS = [(name, run) for name in NAMES for run in golden_model(name).meta["runs"]]
DECODES = [(name, frames) for name in NAMES for frames in golden_model(name).meta["decode_t"]]
Compare = Callable[..., None]


def recorded_conditioning(golden: GoldenModel, half: str) -> Conditioning:
    return Conditioning(*(golden.recorded[f"{half}.{part}"] for part in ("crossattn", "concat", "vector")))


@contextmanager
def conditional_estimates(engine: Any, num_frames: int) -> Iterator[list[Tensor]]:
    """Yield a list of the denoiser's conditional estimates, one per call; they come last in both engines."""
    calls: list[Tensor] = []
    if isinstance(engine, NativeEngine):
        denoiser = engine.denoiser

        def recording(x: Tensor, sigma: Tensor, conditionings: list[Conditioning], *more: Any) -> list[Tensor]:
            estimates = denoiser(x, sigma, conditionings, *more)
            calls.append(estimates[-1].clone())
            return estimates

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(engine, "denoiser", recording)
            yield calls
    else:
        hook = engine.model.denoiser.register_forward_hook(lambda _m, _i, out: calls.append(out[-num_frames:].clone()))
        yield calls
        hook.remove()


def test_nothing_recorded_is_left_out(golden: GoldenModel) -> None:
    parts = [f"{half}.{part}" for half in ("c", "uc") for part in ("crossattn", "concat", "vector")]
    runs = [f"run.{run}.{part}" for run in golden.meta["runs"] for part in ("sigmas", "cond_denoised", "latents")]
    decodes = ["decode.latents", *(f"decode.t{frames}" for frames in golden.meta["decode_t"])]
    unet = ["unet.x", "unet.sigma", "unet.denoised"]
    inputs = ["image", "cond_noise", "noise", "encode.latents"]
    if not golden.name.startswith("tiny_sv3d"):
        inputs.append("encode.first_stage")
    assert set(golden.recorded) == {*parts, *runs, *decodes, *unet, *inputs}


def test_conditioning(engine: Engine, golden: GoldenModel, assert_golden: Compare) -> None:
    recorded = golden.recorded
    pair = engine.condition(
        recorded["image"],
        golden.conditioning_settings(),
        cond_noise=recorded["cond_noise"],
    )
    for half, conditioning in zip(("c", "uc"), pair, strict=True):
        for part in ("crossattn", "concat", "vector"):
            assert_golden(f"{half}.{part}", getattr(conditioning, part))


@pytest.mark.parametrize(("golden", "run"), RUNS, indirect=["golden"], ids=lambda value: str(value))
def test_sampling(engine: Engine, golden: GoldenModel, run: str, assert_golden: Compare) -> None:
    recorded, settings = golden.recorded, golden.run_settings(run)
    steps: list[StepInfo] = []
    with conditional_estimates(engine, golden.meta["T"]) as calls:
        latents = engine.sample(
            recorded["noise"],
            recorded_conditioning(golden, "c"),
            recorded_conditioning(golden, "uc"),
            settings,
            on_step=steps.append,
            generator=golden.run_generator(run),
        )
    sigmas = recorded[f"run.{run}.sigmas"]
    assert_golden(f"run.{run}.sigmas", torch.tensor([step.sigma for step in steps]), sigmas[1:])
    if isinstance(engine, NativeEngine):
        computed = make_sigmas(settings.discretization, settings.num_steps, dict(settings.discretization_params))
        assert_golden(f"run.{run}.sigmas", computed)
    expected = recorded[f"run.{run}.cond_denoised"]
    errors = [relative_error(*pair) for pair in zip(calls, expected, strict=True)]
    differing = [number for number, error in enumerate(errors) if error > 1e-4]
    assert not differing, f"denoiser call {differing[0]} of {len(errors)} differs first, by {errors[differing[0]]:.1e}"
    assert_golden(f"run.{run}.cond_denoised", torch.stack(calls))
    assert_golden(f"run.{run}.latents", latents)


@pytest.mark.parametrize(("golden", "decode_t"), DECODES, indirect=["golden"], ids=lambda value: str(value))
def test_decoding(engine: Engine, golden: GoldenModel, decode_t: int, assert_golden: Compare) -> None:
    assert_golden(f"decode.t{decode_t}", engine.decode(golden.recorded["decode.latents"], decode_t))


def test_decoded_latents_are_those_of_the_first_run(golden: GoldenModel, assert_golden: Compare) -> None:
    latents = golden.recorded[f"run.{next(iter(golden.meta['runs']))}.latents"]
    assert_golden("decode.latents", latents / latents.std())


@torch.inference_mode()
def test_one_call_of_the_denoiser(golden: GoldenModel, whole_model: NativeEngine, assert_golden: Compare) -> None:
    recorded = golden.recorded
    sigma = recorded["unet.sigma"]
    assert (sigma == sigma[0]).all()
    (denoised,) = whole_model.denoiser(recorded["unet.x"], sigma[:1], [recorded_conditioning(golden, "c")])
    assert_golden("unet.denoised", denoised)


@torch.inference_mode()
def test_encoders(golden: GoldenModel, whole_model: NativeEngine, assert_golden: Compare) -> None:
    image = golden.recorded["image"]
    assert_golden("encode.latents", whole_model.model.conditioner.encode_frame(image))
    encoder = whole_model.model.first_stage_model.encoder
    if encoder is not None:  # without the 1x1 convolution of some first stages
        assert_golden("encode.first_stage", encoder(image))
    assert (encoder is None) == golden.name.startswith("tiny_sv3d")


@pytest.fixture(scope="session")
def whole_model(golden: GoldenModel) -> NativeEngine:
    """Return the native engine with the complete model, including modules that sampling does not use."""
    source = ModelSource(golden.config, golden.checkpoint, load_config(golden.config), resolve(CPU))
    model = build_meta(source.config, golden.config.parent)
    weights = load_file(golden.checkpoint)
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, assign=True)
    return NativeEngine(model, source, {})
