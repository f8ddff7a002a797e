"""Native engine with a small model: steps, guidance, chunks, precisions."""

from dataclasses import replace

import pytest
import torch
from golden_models import CPU, golden_model, relative_error
from torch import Tensor

from img2vid.engine import Conditioning, SamplerSettings, StepInfo, load_engine
from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.interface import DTYPES, ConditioningSettings
from img2vid.engine.sampling.discretization import edm_sigmas
from img2vid.errors import BadInput, Cancelled
from img2vid.options import Precision

GOLDEN = golden_model("tiny_svd")
FRAMES = 3
SETTINGS = SamplerSettings(num_steps=3)


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(scope="module")
def pair(small_engine: NativeEngine) -> tuple[Conditioning, Conditioning]:
    return condition(small_engine)


def condition(engine: NativeEngine) -> tuple[Conditioning, Conditioning]:
    image = draw(1, 3, 64, 64).clamp(-1, 1)
    settings = ConditioningSettings(0.02, FRAMES, fps=7, motion_bucket_id=90)
    return engine.condition(image, settings, cond_noise=draw(1, 3, 64, 64, seed=1))


NOISE = draw(FRAMES, 4, 8, 8, seed=2)
Pair = tuple[Conditioning, Conditioning]


def test_conditioning_has_a_row_for_every_frame_and_zero_pictures_in_its_twin(pair: Pair) -> None:
    cond, uncond = pair
    assert [tuple(part.shape) for part in vars(cond).values()] == [(3, 1, 64), (3, 4, 8, 8), (3, 768)]
    for part in (cond.crossattn, cond.concat, cond.vector):
        assert (part == part[:1]).all()
        assert part.dtype == torch.float32
    assert not uncond.crossattn.any()
    assert not uncond.concat.any()
    assert torch.equal(uncond.vector, cond.vector)


def test_only_the_encoded_frame_is_noisy_and_only_by_cond_aug(small_engine: NativeEngine) -> None:
    image, noise = draw(1, 3, 64, 64).clamp(-1, 1), draw(1, 3, 64, 64, seed=1)

    def conditioned(cond_aug: float, noise: Tensor) -> Conditioning:
        settings = ConditioningSettings(cond_aug, 1, fps=7, motion_bucket_id=90)
        return small_engine.condition(image, settings, cond_noise=noise)[0]

    clean, noisy = conditioned(0.0, noise), conditioned(0.5, noise)
    assert torch.equal(clean.crossattn, noisy.crossattn)
    assert torch.equal(clean.concat, conditioned(0.0, -noise).concat)
    assert not torch.allclose(clean.concat, noisy.concat, atol=1e-3)


def test_on_step_is_called_after_every_step_with_the_level_reached(small_engine: NativeEngine, pair: Pair) -> None:
    steps: list[StepInfo] = []
    latents = small_engine.sample(NOISE, *pair, SETTINGS, on_step=steps.append)
    assert [(step.step, step.total) for step in steps] == [(1, 3), (2, 3), (3, 3)]
    assert [step.sigma for step in steps] == edm_sigmas(3, sigma_max=700.0)[1:].tolist()
    torch.testing.assert_close(steps[-1].denoised, latents)


def test_raising_from_on_step_stops_the_run(small_engine: NativeEngine, pair: Pair) -> None:
    seen: list[int] = []

    def stop(step: StepInfo) -> None:
        seen.append(step.step)
        raise Cancelled("enough")

    with pytest.raises(Cancelled, match="enough"):
        small_engine.sample(NOISE, *pair, SETTINGS, on_step=stop)
    assert seen == [1]


def test_inputs_of_sampling_and_decoding_are_not_written_to(small_engine: NativeEngine, pair: Pair) -> None:
    before = [tensor.clone() for tensor in (NOISE, *vars(pair[0]).values(), *vars(pair[1]).values())]
    small_engine.sample(NOISE, *pair, SETTINGS)
    small_engine.decode(NOISE, 2)
    after = (NOISE, *vars(pair[0]).values(), *vars(pair[1]).values())
    assert all(torch.equal(*both) for both in zip(before, after, strict=True))


def test_a_scale_of_1_is_no_guidance(small_engine: NativeEngine, pair: Pair) -> None:
    plain = SamplerSettings(num_steps=2, guider="IdentityGuider", guider_params={})
    scaled = SamplerSettings(num_steps=2, guider="VanillaCFG", guider_params={"scale": 1.0})
    assert torch.equal(small_engine.sample(NOISE, *pair, scaled), small_engine.sample(NOISE, *pair, plain))


def test_each_frame_is_guided_by_its_own_scale(small_engine: NativeEngine, pair: Pair) -> None:
    """After one step, frames have interacted only within the two estimates."""

    def end(guider: str, **params: float) -> Tensor:
        return small_engine.sample(NOISE, *pair, SamplerSettings(num_steps=1, guider=guider, guider_params=params))

    ramp = end("LinearPredictionGuider", min_scale=1.0, max_scale=3.0)
    for frame, scale in enumerate((1.0, 2.0, 3.0)):
        torch.testing.assert_close(ramp[frame], end("VanillaCFG", scale=scale)[frame])


def test_added_noise_comes_from_the_generator_alone(small_engine: NativeEngine, pair: Pair) -> None:
    settings = SamplerSettings("EulerAncestralSampler", 3)

    def end(seed: int) -> Tensor:
        return small_engine.sample(NOISE, *pair, settings, generator=torch.Generator().manual_seed(seed))

    first = end(1)
    torch.manual_seed(9)
    assert torch.equal(end(1), first)
    assert not torch.equal(end(2), first)


def test_wrong_settings_are_refused_before_the_network_runs(
    small_engine: NativeEngine, pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(small_engine, "denoiser", None)
    with pytest.raises(BadInput, match="sampler 'Euler' is unknown"):
        small_engine.sample(NOISE, *pair, SamplerSettings("Euler"))


def test_decoding_reports_every_chunk(small_engine: NativeEngine) -> None:
    progress: list[tuple[int, int]] = []
    frames = small_engine.decode(draw(5, 4, 4, 4), 2, on_chunk=lambda done, total: progress.append((done, total)))
    assert frames.shape == (5, 3, 32, 32)
    assert progress == [(2, 5), (4, 5), (5, 5)]


def test_a_chunk_is_decoded_as_if_it_were_the_whole_clip(small_engine: NativeEngine) -> None:
    latents = draw(4, 4, 4, 4)
    frames = small_engine.decode(latents, 3)
    torch.testing.assert_close(frames[:3], small_engine.decode(latents[:3], 100))
    torch.testing.assert_close(frames[3:], small_engine.decode(latents[3:], 1))


@pytest.mark.parametrize("decode_t", [0, -1])
def test_decode_t_of_0_is_rejected(small_engine: NativeEngine, decode_t: int) -> None:
    with pytest.raises(BadInput, match=f"decode_t must be at least 1 frame at a time, got {decode_t}"):
        small_engine.decode(NOISE, decode_t)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp16", 0.01), ("bf16", 0.05)])
def test_half_precision_is_close_and_excludes_the_autoencoders(
    small_engine: NativeEngine, pair: Pair, precision: Precision, tolerance: float
) -> None:
    """The decoder has its own precision, and the frame's encoder stays in float32."""
    half = load_engine(GOLDEN.config, GOLDEN.checkpoint, replace(CPU, precision=precision))
    assert isinstance(half, NativeEngine)
    conditioner = half.model.conditioner
    frame_encoder = conditioner.embedder("cond_frames")
    assert {weight.dtype for net in (half.frame_decoder.decoder, frame_encoder) for weight in net.parameters()} == {
        torch.float32
    }
    halved_parts = (half.denoiser.network, conditioner.embedder("cond_frames_without_noise"))
    assert {weight.dtype for net in halved_parts for weight in net.parameters()} == {DTYPES[precision]}
    for halved, full in zip(condition(half), pair, strict=True):
        for part in ("crossattn", "concat", "vector"):
            assert getattr(halved, part).dtype == torch.float32
            assert relative_error(getattr(halved, part), getattr(full, part)) < tolerance
    few_steps = SamplerSettings(num_steps=2, guider="IdentityGuider", guider_params={})
    latents = half.sample(NOISE, *pair, few_steps)
    assert latents.dtype == torch.float32
    assert relative_error(latents, small_engine.sample(NOISE, *pair, few_steps)) < tolerance
