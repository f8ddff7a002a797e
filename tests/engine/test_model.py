"""Complete models on the meta device: names and shapes match the published checkpoints."""

import gzip
import json
import math
from typing import Any

import pytest
import torch
from golden_models import GOLDEN
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from img2vid import paths
from img2vid.engine.config import load_config
from img2vid.engine.model import SvdModel, build_meta
from img2vid.versions import load_versions

KINDS = ("svd", "svd_image_decoder", "sv3d_u", "sv3d_p")
PUBLISHED = {"svd": 2_389_819_785}
"""Number of values in the published checkpoint."""


@pytest.fixture(scope="module", params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def model(kind: str) -> SvdModel:
    return build_meta(load_config(paths.CONFIGS / f"{kind}.yaml"), paths.CONFIGS)


def published(kind: str) -> dict[str, tuple[int, ...]]:
    with gzip.open(GOLDEN / f"{kind}_keys.json.gz", "rt", encoding="utf-8") as file:
        return {name: tuple(shape) for name, shape in json.load(file).items()}


def test_full_size_names_and_shapes_are_the_published_checkpoints(kind: str, model: SvdModel) -> None:
    ours = {name: tuple(tensor.shape) for name, tensor in model.weights().items()}
    theirs = published(kind)
    assert sorted(ours.keys() ^ theirs.keys()) == []
    assert {name: (shape, theirs[name]) for name, shape in ours.items() if shape != theirs[name]} == {}
    if kind in PUBLISHED:
        assert sum(math.prod(shape) for shape in ours.values()) == PUBLISHED[kind]


def test_what_sampling_needs_is_a_part_of_the_checkpoint(kind: str) -> None:
    model = build_meta(load_config(paths.CONFIGS / f"{kind}.yaml"), paths.CONFIGS)
    model.drop_unused()
    needed = model.weights().keys()
    dropped = published(kind).keys() - needed
    assert needed < published(kind).keys()
    encoder = "conditioner.embedders." + ("1" if kind.startswith("sv3d") else "3") + ".encoder"
    parts = {"conditioner.embedders.0.open_clip.model", f"{encoder}.decoder", f"{encoder}.post_quant_conv"}
    if not kind.startswith("sv3d"):
        parts.add("first_stage_model.encoder")
    assert all(any(name.startswith(part) for part in {*parts, "first_stage_model.quant_conv"}) for name in dropped)
    assert all(any(name.startswith(part) for name in dropped) for part in parts)
    assert not any(".visual." in name for name in dropped)


def test_nothing_is_allocated_and_nothing_is_trained(model: SvdModel) -> None:
    assert {tensor.device.type for tensor in model.weights().values()} == {"meta"}
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert not any(module.training for module in model.modules())


class AllocatedBytes(TorchDispatchMode):
    """Counter of the bytes of all tensors created on devices other than meta."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor) and tensor.device.type != "meta":
                self.count += tensor.numel() * tensor.element_size()
        return made


def test_building_allocates_nothing() -> None:
    """A float32 model of this size is 9.6 GB."""
    with AllocatedBytes() as allocated:
        torch.ones(10)
        assert allocated.count == 40
        build_meta(load_config(paths.CONFIGS / "svd.yaml"), paths.CONFIGS)
    assert allocated.count < 100_000


def test_the_small_model_fits_into_20_megabytes_in_float16() -> None:
    model = build_meta(load_config(paths.CONFIGS / "svd_tiny.yaml"), paths.CONFIGS)
    model.drop_unused()
    assert 2 * sum(tensor.numel() for tensor in model.weights().values()) < 20e6


@pytest.mark.parametrize("name", load_versions())
def test_every_versions_sizes_are_those_of_its_configuration(name: str) -> None:
    version = load_versions()[name]
    config = load_config(version.config_path)
    assert (version.downsampling, version.size_step) == (config.first_stage.downsampling, config.size_step)
