"""Speed of number formats: the advice to the user, and the measurement."""

import pytest
import torch

from img2vid.engine import format_speed
from img2vid.engine.format_speed import slowdown, speed_advice


@pytest.fixture
def processor(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Return the slowdowns of a CPU that supports bfloat16 but not float16; tests may change them."""
    ratios = {"fp16": 15.0, "bf16": 0.5}
    monkeypatch.setattr(format_speed, "slowdown", ratios.__getitem__)
    return ratios


def test_formats_that_are_not_slower_give_no_advice(processor: dict[str, float]) -> None:
    assert speed_advice("fp32", "fp32") == ""
    assert speed_advice("bf16", "bf16") == ""
    processor["bf16"] = 1.1
    assert speed_advice("bf16", "fp32") == ""


@pytest.mark.parametrize(
    ("precision", "decoder_precision", "sentence"),
    [
        ("fp16", "fp32", "precision fp16 is slower than fp32 on this processor; choose fp32 unless memory is short"),
        (
            "bf16",
            "fp16",
            "decoder precision fp16 is slower than fp32 on this processor; choose fp32 unless memory is short",
        ),
        (
            "fp16",
            "fp16",
            "precision fp16 and decoder precision fp16 are slower than fp32 on this processor; "
            "choose fp32 unless memory is short",
        ),
    ],
)
@pytest.mark.usefixtures("processor")
def test_slower_formats_are_named(precision: str, decoder_precision: str, sentence: str) -> None:
    assert speed_advice(precision, decoder_precision) == sentence


def test_the_ratio_is_that_of_the_measured_times(monkeypatch: pytest.MonkeyPatch) -> None:
    times = {torch.float32: 0.5, torch.float16: 4.0, torch.bfloat16: 0.25}
    monkeypatch.setattr(format_speed, "_seconds", times.__getitem__)
    slowdown.cache_clear()
    try:
        assert (slowdown("fp16"), slowdown("bf16")) == (8.0, 0.5)
    finally:
        slowdown.cache_clear()


def test_this_processor_is_measured_once_and_its_threads_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    threads = torch.get_num_threads()
    slowdown.cache_clear()
    found = slowdown("bf16")
    assert 0.01 < found < 10_000
    monkeypatch.setattr(format_speed, "_seconds", None)
    assert slowdown("bf16") == found
    assert torch.get_num_threads() == threads
