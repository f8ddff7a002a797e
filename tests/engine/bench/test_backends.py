"""Benchmark backends: identical inputs for all engines, and repeatable stages."""

import importlib.util
from dataclasses import replace

import pytest
import torch
from golden_models import CPU, golden_model

from img2vid.engine.bench.backends import EngineBackend, Model, Shape, draw_inputs, load_backend
from img2vid.engine.config import load_config
from img2vid.errors import BadInput, EngineUnavailable

GOLDEN = golden_model("tiny_svd")
MODEL = Model(str(GOLDEN.config), str(GOLDEN.checkpoint), CPU)
SHAPE = Shape(64, 64, 2, 2)


@pytest.fixture(scope="module")
def native() -> EngineBackend:
    backend = load_backend("native", MODEL)
    assert isinstance(backend, EngineBackend)
    return backend


@pytest.mark.parametrize("stage", ["condition", "step", "decode"])
def test_a_stage_run_twice_gives_the_same_result(native: EngineBackend, stage: str) -> None:
    run = native.prepare(stage, SHAPE)
    first, again = run(), run()
    assert all(torch.equal(a, b) and a.isfinite().all() for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("stage", ["condition", "step", "decode"])
def test_another_seed_is_another_clip(native: EngineBackend, stage: str) -> None:
    first, other = (native.prepare(stage, SHAPE, seed)()[0] for seed in (0, 1))
    assert first.shape == other.shape
    assert not torch.equal(first, other)


def test_the_results_have_the_requested_shape(native: EngineBackend) -> None:
    shape = Shape(128, 64, 3, 2)
    f = native.engine.downsampling
    (latents,) = native.prepare("step", shape)()
    assert latents.shape == (3, native.engine.latent_channels, 64 // f, 128 // f)
    (frames,) = native.prepare("decode", shape)()
    assert frames.shape == (3, 3, 64, 128)


def test_the_requested_number_of_steps_runs(native: EngineBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[int] = []
    sample = native.engine.sample

    def counting(*arguments: object) -> torch.Tensor:
        requested.append(arguments[3].num_steps)  # type: ignore[attr-defined]
        return sample(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(native.engine, "sample", counting)
    native.prepare("step", Shape(64, 64, 2, 2, steps=3))()
    assert requested == [3]


def test_the_random_conditioning_has_the_shapes_of_an_engines_own(native: EngineBackend) -> None:
    inputs = draw_inputs(load_config(GOLDEN.config), SHAPE, 0)
    made = native.prepare("condition", SHAPE)()
    drawn = [inputs.cond.crossattn, inputs.cond.concat, inputs.cond.vector]
    assert [values.shape for values in drawn] == [values.shape for values in made]
    assert not inputs.uncond.crossattn.any()
    assert not inputs.uncond.concat.any()
    assert torch.equal(inputs.uncond.vector, inputs.cond.vector)


def test_the_model_can_make_the_smallest_clip(native: EngineBackend) -> None:
    smallest = Shape(1024, 576, 25, 14, steps=9).smallest(native.size_step)
    assert smallest == Shape(native.size_step, native.size_step, 2, 2, steps=1)
    for stage in ("condition", "step", "decode"):
        assert native.prepare(stage, smallest)()


def test_options_are_passed_to_the_engine() -> None:
    with pytest.raises(BadInput, match="memory stages requires a device with its own memory"):
        load_backend("native", replace(MODEL, options=replace(CPU, memory="stages")))


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(BadInput, match="provider must be one of auto, native, sgm, got 'other'"):
        load_backend("other", MODEL)


@pytest.mark.skipif(importlib.util.find_spec("sgm") is not None, reason="the package sgm is installed")
def test_a_missing_engine_says_how_to_install_it() -> None:
    with pytest.raises(EngineUnavailable, match=r"pip install -r requirements/sgm\.txt"):
        load_backend("sgm", MODEL)
