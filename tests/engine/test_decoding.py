"""Decoding in 16-bit formats: close to float32 and never black, tested with weights that overflow."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from golden_models import CPU, golden_model, relative_error
from safetensors.torch import load_file, save_file
from torch import Tensor

from img2vid.engine import load_engine
from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.decoding import in_format

GOLDEN = golden_model("tiny_svd")
LATENTS = torch.randn(4, 4, 4, 4, generator=torch.Generator().manual_seed(0))
OVERFLOWED = "decoded again in float32, because float16 overflowed"
TOO_LARGE = "decoded in float32, because the decoder's weights are too large for float16"
Load = Callable[..., NativeEngine]


@pytest.fixture
def loud(tmp_path: Path) -> Load:
    """Return a function that loads the small model with the decoder's first convolution scaled by `strength`.

    Group norms cancel the scale, so that float32 gives correct frames.
    """

    def load(strength: float, precision: str) -> NativeEngine:
        weights = {name: tensor.float() for name, tensor in load_file(GOLDEN.checkpoint).items()}
        for name in ("weight", "bias"):
            weights[f"first_stage_model.decoder.conv_in.{name}"] *= strength
        path = tmp_path / f"loud_{strength}.safetensors"
        if not path.exists():
            save_file(weights, path)
        engine = load_engine(GOLDEN.config, path, replace(CPU, decoder_precision=precision))
        assert isinstance(engine, NativeEngine)
        return engine

    return load


def decode(engine: NativeEngine, latents: Tensor = LATENTS, decode_t: int = 2) -> tuple[Tensor, list[str]]:
    notices: list[str] = []
    frames = engine.decode(latents, decode_t, on_notice=notices.append)
    assert frames.dtype == torch.float32
    return frames, notices


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 0.0), ("fp16", 0.005), ("bf16", 0.05)])
def test_each_format_is_close_and_gives_no_notice(small_engine: NativeEngine, precision: str, tolerance: float) -> None:
    engine = load_engine(GOLDEN.config, GOLDEN.checkpoint, replace(CPU, decoder_precision=precision))
    assert isinstance(engine, NativeEngine)
    frames, notices = decode(engine)
    expected, _ = decode(small_engine)
    assert relative_error(frames, expected) <= tolerance
    assert precision == "fp32" or not torch.equal(frames, expected)
    assert notices == []
    assert {weight.dtype for weight in engine.frame_decoder.decoder.parameters()} == {engine.frame_decoder.dtype}


def test_the_decoders_precision_is_its_own(small_engine: NativeEngine) -> None:
    engine = load_engine(GOLDEN.config, GOLDEN.checkpoint, replace(CPU, decoder_precision="fp16"))
    assert isinstance(engine, NativeEngine)
    assert {weight.dtype for weight in engine.frame_decoder.decoder.parameters()} == {torch.float16}
    others = (engine.model, engine.denoiser.network)
    assert {weight.dtype for module in others for weight in module.parameters()} == {torch.float32}


def test_a_chunk_that_overflows_is_decoded_again_in_float32_with_a_notice(loud: Load) -> None:
    expected, _ = decode(loud(1e5, "fp32"))
    engine = loud(1e5, "fp16")
    progress: list[tuple[int, int]] = []
    notices: list[str] = []
    with torch.inference_mode():
        black = engine.frame_decoder.decoder(LATENTS.half() / engine.scale_factor)
    assert not torch.isfinite(black).all(), "these weights do not overflow"
    frames = engine.decode(LATENTS, 2, lambda *now: progress.append(now), notices.append)
    assert torch.isfinite(frames).all()
    assert relative_error(frames, expected) < 0.01
    assert notices == [OVERFLOWED]
    assert progress == [(2, 4), (4, 4)]
    assert engine.frame_decoder.dtype == torch.float16, "the next clip is tried in float16 first"


def test_only_the_chunk_that_overflows_is_decoded_again(loud: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = loud(300, "fp16")
    latents = LATENTS / 100
    quiet, notices = decode(engine, latents)
    assert notices == []
    latents = torch.cat([latents[:2], 1e4 * latents[2:]])
    frames, notices = decode(engine, latents)
    assert notices == [OVERFLOWED]
    assert torch.equal(frames[:2], quiet[:2])
    assert torch.isfinite(frames).all()
    alone, _ = decode(engine, latents[2:])
    assert torch.equal(frames[2:], alone), "a chunk depends on nothing but itself"


def test_bfloat16_has_the_range_of_float32(loud: Load) -> None:
    expected, _ = decode(loud(1e5, "fp32"))
    frames, notices = decode(loud(1e5, "bf16"))
    assert notices == []
    assert relative_error(frames, expected) < 0.1


def test_weights_that_float16_cannot_hold_leave_the_decoder_in_float32(loud: Load) -> None:
    expected, _ = decode(loud(1e8, "fp32"))
    engine = loud(1e8, "fp16")
    assert {weight.dtype for weight in engine.frame_decoder.decoder.parameters()} == {torch.float32}
    frames, notices = decode(engine)
    assert notices == [TOO_LARGE]
    assert relative_error(frames, expected) < 0.01


def test_nan_in_float32_stays_nan(small_engine: NativeEngine) -> None:
    frames, notices = decode(small_engine, LATENTS * float("nan"))
    assert notices == []
    assert frames.isnan().all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_a_weight_is_converted_only_if_it_fits(dtype: torch.dtype) -> None:
    fitting, large = torch.tensor([1.0, -65504.0]), torch.tensor([1.0, 1e6])
    broken = torch.tensor([1.0, float("inf")])
    assert in_format(fitting, dtype).dtype == dtype
    assert in_format(large, dtype).dtype == (torch.float32 if dtype == torch.float16 else dtype)
    assert in_format(broken, dtype).dtype == dtype, "what is broken in the file is not the format's fault"
