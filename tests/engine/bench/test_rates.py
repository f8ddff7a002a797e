"""Peak rates of the machine: size of the work, and best of several tries."""

import pytest
import torch

from img2vid.engine.bench import rates
from img2vid.engine.bench.rates import SIDES, measure_rates, products_like_convolutions


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use small products and copies."""
    monkeypatch.setattr(rates, "SIDES", (16, 32))
    monkeypatch.setattr(rates, "COPIED", {"cpu": 1 << 16})
    monkeypatch.setattr(rates, "MEASURING", 0.0)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_rates_are_work_over_time(monkeypatch: pytest.MonkeyPatch, precision: str) -> None:
    monkeypatch.setattr(rates, "_best", lambda *arguments, **more: 2.0)
    found = measure_rates("cpu", precision)
    assert found.side == 16, "a product that takes long enough is not enlarged"
    assert found.product == 2 * 16**3 / 2.0
    assert found.copy == 2 * (1 << 16) / 2.0


@pytest.mark.usefixtures("quick")
def test_a_fast_machine_gets_the_largest_product() -> None:
    found = measure_rates("cpu", "fp32")
    assert found.side == 32
    assert found.product > 0
    assert found.copy > 0


def test_the_best_try_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 3.0, 10.0, 11.0, 20.0, 24.0])
    monkeypatch.setattr(rates.time, "perf_counter", lambda: next(ticks))
    assert rates._best(lambda: None, torch.device("cpu"), tries=3) == 1.0


def test_the_setting_for_products_is_restored() -> None:
    before = torch.backends.cuda.matmul.allow_tf32
    with pytest.raises(KeyError), products_like_convolutions():
        assert torch.backends.cuda.matmul.allow_tf32 == torch.backends.cudnn.allow_tf32
        raise KeyError
    assert torch.backends.cuda.matmul.allow_tf32 == before


def test_the_sides_grow() -> None:
    assert list(SIDES) == sorted(SIDES)


@pytest.mark.usefixtures("quick")
def test_a_rough_speed_is_that_of_all_threads_and_16_bits_are_never_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(rates, "_best", lambda *arguments, **more: 2.0)
    monkeypatch.setattr(rates, "slowdown", lambda name: {"fp16": 4.0, "bf16": 0.5}[name])
    one = threads * 2 * 16**3 / 2.0
    assert rates.measure_speed("cpu") == {"fp32": one, "fp16": one / 4, "bf16": one}
    assert torch.get_num_threads() == threads
