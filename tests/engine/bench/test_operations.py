"""Operation counts, without allocating memory, in the number formats of the reference."""

from collections.abc import Iterator

import pytest
import torch
from golden_models import CPU, golden_model

from img2vid import paths
from img2vid.engine.bench.backends import Model, Shape, load_backend
from img2vid.engine.bench.operations import Work, count, count_stages

GOLDEN = golden_model("tiny_svd")
SHAPE = Shape(64, 64, 2, 2)


@pytest.fixture(scope="module")
def full_size() -> Iterator[dict[str, list[Work]]]:
    """Count svd at 1024 x 576 with 14 frames; none of its 2.4e9 weights is allocated."""
    yield count_stages(paths.CONFIGS / "svd.yaml", Shape(1024, 576, 14, 14), "fp16")


def total(parts: list[Work]) -> float:
    return sum(part.operations for part in parts)


def test_a_product_is_counted_as_multiplications_and_additions() -> None:
    a, b = torch.ones(3, 5), torch.ones(5, 7)
    assert count(lambda: a @ b) == 2 * 3 * 5 * 7


def test_the_full_size_matches_published_counts(full_size: dict[str, list[Work]]) -> None:
    """The reference computes 44.80 TFLOP per evaluation; 3.7 % of them are redundant cross-attention."""
    assert total(full_size["step"]) / 2 == pytest.approx(44.80e12 * (1 - 0.037), rel=0.005)
    assert total(full_size["decode"]) == pytest.approx(14 * 6.943e12, rel=0.01)
    clip, encoder = full_size["condition"]
    assert clip.operations == pytest.approx(0.335e12, rel=0.02)
    assert encoder.operations == pytest.approx(2.609e12, rel=0.01)


def test_autoencoders_are_counted_in_their_own_format(full_size: dict[str, list[Work]]) -> None:
    assert [part.precision for part in full_size["condition"]] == ["fp16", "fp32"]
    assert [part.precision for part in full_size["step"]] == ["fp16"]
    assert {part.precision for part in full_size["decode"]} == {"fp32"}


def test_at_least_the_weights_are_read(full_size: dict[str, list[Work]]) -> None:
    (step,) = full_size["step"]
    assert step.bytes == pytest.approx(2 * 1.5246e9, rel=0.02)


def test_work_grows_with_steps_and_with_chunks() -> None:
    once = count_stages(GOLDEN.config, Shape(64, 64, 4, 4), "fp32")
    more = count_stages(GOLDEN.config, Shape(64, 64, 4, 2, steps=3), "fp32")
    assert total(more["step"]) == 3 * total(once["step"])
    assert len(more["decode"]) == 2
    assert total(more["decode"]) == pytest.approx(total(once["decode"]))
    assert sum(part.bytes for part in more["decode"]) > sum(part.bytes for part in once["decode"])


@pytest.mark.parametrize("stage", ["condition", "step", "decode"])
def test_the_reference_computes_at_least_as_much(stage: str) -> None:
    """It computes the conditioning twice and full cross-attention to its one token; decoding is the same."""
    pytest.importorskip("sgm")
    backend = load_backend("sgm", Model(str(GOLDEN.config), str(GOLDEN.checkpoint), CPU))
    operations = count(backend.prepare(stage, SHAPE))
    planned = total(count_stages(GOLDEN.config, SHAPE, "fp32")[stage])
    assert planned <= operations * 1.001
    assert stage != "decode" or operations == pytest.approx(planned, rel=1e-3)
