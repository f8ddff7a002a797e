"""Switching models: only modules with the same weights in both checkpoints stay in memory."""

import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_models import CPU, golden_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from img2vid.engine import ConditioningSettings, load_engine
from img2vid.engine.backends.native import NativeEngine
from img2vid.engine.config import load_config
from img2vid.engine.interface import OnBytes
from img2vid.engine.model import build_meta
from img2vid.engine.weights import shared_modules
from img2vid.engine.weights.shared_modules import SHARED
from img2vid.errors import CheckpointError

GOLDEN = golden_model("tiny_svd")
CLIP, ENCODER = SHARED
PREFIXES = {CLIP: "conditioner.embedders.0.", ENCODER: "conditioner.embedders.3."}
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that writes the small model's checkpoint, with the weights of the given prefixes changed."""

    def write(name: str, *changed: str, dtype: torch.dtype | None = None) -> Path:
        weights: dict[str, Tensor] = {}
        for key, tensor in load_file(GOLDEN.checkpoint).items():
            new = tensor if dtype is None else tensor.to(dtype)
            if key.startswith(changed) and changed:
                new = new.clone()
                new.view(-1)[-1] += 0.5
            weights[key] = new
        path = tmp_path / f"{name}.safetensors"
        save_file(weights, path)
        return path

    return write


def load(
    path: Path, before: NativeEngine | None = None, on_bytes: OnBytes | None = None, **options: Any
) -> NativeEngine:
    spare = None if before is None else before.parts
    engine = load_engine(GOLDEN.config, path, replace(CPU, **options), spare=spare, on_bytes=on_bytes)
    assert isinstance(engine, NativeEngine)
    return engine


def embedder(engine: NativeEngine, key: str) -> nn.Module:
    return engine.model.conditioner.embedder(key)


def kept(engine: NativeEngine, before: NativeEngine) -> set[str]:
    return {key for key in SHARED if embedder(engine, key) is embedder(before, key)}


def outputs(engine: NativeEngine) -> list[Tensor]:
    image = torch.linspace(-1, 1, 3 * 64 * 64).reshape(1, 3, 64, 64)
    settings = ConditioningSettings(0.1, 2, fps=7, motion_bucket_id=90)
    pair = engine.condition(image, settings, cond_noise=torch.ones_like(image))
    with torch.inference_mode():
        denoised = engine.denoiser(torch.ones(2, 4, 8, 8), torch.tensor(3.0), [pair[0]])
    return [*vars(pair[0]).values(), *denoised]


def needed_names() -> set[str]:
    """Return the names of the weights that are loaded."""
    model = build_meta(load_config(GOLDEN.config), GOLDEN.config.parent)
    model.drop_unused()
    model.network.drop_unused()
    return {*model.weights()}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ((), {CLIP, ENCODER}),
        (("model.diffusion_model.",), {CLIP, ENCODER}),
        ((PREFIXES[CLIP],), {ENCODER}),
        ((PREFIXES[ENCODER],), {CLIP}),
        (tuple(PREFIXES.values()), set()),
    ],
)
def test_equal_modules_are_kept_and_the_model_matches_the_file(
    make: Make, changed: tuple[str, ...], expected: set[str]
) -> None:
    first, second = load(make("first")), make("second", *changed)
    events: list[tuple[int, int]] = []
    switched, alone = load(second, first, on_bytes=lambda *now: events.append(now)), load(second)
    assert kept(switched, first) == expected
    assert all(torch.equal(*pair) for pair in zip(outputs(switched), outputs(alone), strict=True))
    assert all(torch.equal(tensor, alone.model.weights()[name]) for name, tensor in switched.model.weights().items())
    weights, needed = load_file(second), needed_names()
    reused = sum(weights[name].nbytes for key in expected for name in needed if name.startswith(PREFIXES[key]))
    whole = sum(weights[name].nbytes for name in needed)
    assert events[-1] == (whole - reused, whole - reused), "more was read than is needed"


def test_going_back_reads_nothing_of_what_is_shared(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = make("first"), make("second", "model.diffusion_model.")
    one = load(first)
    two = load(second, one)

    def read(*arguments: Any) -> bool:
        raise AssertionError("a module with known weights was compared again")

    monkeypatch.setattr(shared_modules, "_has_weights_of", read)
    back = load(first, two)
    assert kept(back, two) == {CLIP, ENCODER}
    assert all(torch.equal(*pair) for pair in zip(outputs(back), outputs(one), strict=True))
    assert kept(load(second, back), back) == {CLIP, ENCODER}


def test_a_replaced_file_is_compared_again(make: Make) -> None:
    first, second = make("first"), make("second")
    two = load(second, load(first))
    shutil.copy(make("other", PREFIXES[CLIP]), first)
    os.utime(first, (1, 1))
    assert kept(load(first, two), two) == {ENCODER}


def test_encoder_outputs_stay_cached_across_a_switch(make: Make) -> None:
    one = load(make("first"))
    outputs(one)
    two = load(make("second", "model.diffusion_model."), one)
    ran: list[str] = []
    for key in SHARED:
        embedder(two, key).register_forward_hook(lambda *arguments: ran.append("ran"))
    outputs(two)
    assert ran == []


def test_the_same_numbers_in_another_format_are_the_same_weights(make: Make) -> None:
    first = load(make("first"))
    assert kept(load(make("second", dtype=torch.float32), first), first) == {CLIP, ENCODER}


def test_another_precision_keeps_the_float32_encoder(make: Make) -> None:
    path = make("first")
    first = load(path)
    assert kept(load(path, first, precision="bf16"), first) == {ENCODER}


def test_another_architecture_with_weights_of_the_same_shapes_shares_nothing(make: Make, tmp_path: Path) -> None:
    first = load(make("first"))
    folder = tmp_path / "config"
    shutil.copytree(GOLDEN.config.parent, folder, ignore=shutil.ignore_patterns("*.safetensors"))
    architecture = next((folder / "clip").iterdir())
    text = architecture.read_text(encoding="utf-8")
    architecture.write_text(text.replace('"head_width": 32', '"head_width": 16'), encoding="utf-8")
    config = folder / GOLDEN.config.name
    other = load_engine(config, tmp_path / "first.safetensors", CPU, spare=first.parts)
    assert isinstance(other, NativeEngine)
    assert kept(other, first) == {ENCODER}


def test_a_mismatched_checkpoint_is_rejected_as_without_spare_modules(make: Make) -> None:
    first = load(make("first"))
    wrong = golden_model("tiny_svd_image_decoder").checkpoint
    with pytest.raises(CheckpointError, match="has a decoder without temporal layers"):
        load(wrong, first)


def test_the_old_network_is_freed_when_its_shared_modules_are_kept(make: Make) -> None:
    import gc
    import weakref

    engine = load(make("first"))
    network, parts = weakref.ref(engine.denoiser.network), engine.parts
    del engine
    gc.collect()
    assert network() is None
    assert parts.keys() == {CLIP, ENCODER}
