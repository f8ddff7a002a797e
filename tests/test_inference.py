"""Engine options: validation, and the values of `auto`."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from img2vid import inference
from img2vid.errors import BadInput
from img2vid.options import CHOICES, LoadOptions

ALL = st.builds(
    LoadOptions,
    provider=st.sampled_from(CHOICES["provider"]),
    device=st.sampled_from(("auto", "cpu", "cuda", "cuda:1")),
    precision=st.sampled_from(CHOICES["precision"]),
    allow_pickle=st.booleans(),
    memory=st.sampled_from(CHOICES["memory"]),
    decoder_precision=st.sampled_from(CHOICES["precision"]),
    compile=st.booleans(),
    threads=st.integers(0, 1024),
)


@given(ALL)
def test_a_choice_that_is_resolved_holds_no_auto_and_stays_as_it_is(options: LoadOptions) -> None:
    """Memory on a GPU is the exception, because it is chosen for each clip."""
    resolved = inference.resolve(options)
    left = {name for name, value in vars(resolved).items() if value == "auto"}
    assert left <= ({"memory"} if resolved.device.startswith("cuda") and resolved.provider == "native" else set())
    assert inference.resolve(resolved) == resolved
    made = {name: value for name, value in vars(options).items() if value != "auto"}
    assert made.items() <= vars(resolved).items()


@pytest.mark.parametrize(
    ("card", "device", "precision", "memory"), [(True, "cuda", "fp16", "auto"), (False, "cpu", "fp32", "resident")]
)
def test_auto_stands_for_what_this_machine_has(
    card: bool, device: str, precision: str, memory: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: card)
    resolved = inference.resolve(LoadOptions())
    assert (resolved.provider, resolved.device, resolved.precision) == ("native", device, precision)
    assert (resolved.memory, resolved.compile, resolved.threads) == (memory, False, 0)


def test_sgm_decodes_in_float32_on_any_device() -> None:
    for device in ("cpu", "cuda"):
        assert inference.resolve(LoadOptions("sgm", device)).decoder_precision == "fp32"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"provider": "diffusers"}, "provider must be one of auto, native, sgm, got 'diffusers'"),
        ({"precision": "fp8"}, "precision must be one of auto, fp32, fp16, bf16, got 'fp8'"),
        ({"decoder_precision": ""}, "decoder_precision must be one of auto, fp32, fp16, bf16, got ''"),
        ({"memory": "all"}, "memory must be one of auto, resident, stages, blocks, got 'all'"),
        ({"threads": -1}, "threads must be a whole number from 0 to 1024, got '-1'"),
        ({"threads": 1025}, "threads must be a whole number from 0 to 1024, got '1025'"),
    ],
)
def test_an_invalid_choice_is_refused_in_one_sentence(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(BadInput) as caught:
        inference.resolve(replace(LoadOptions(), **change))
    assert str(caught.value) == sentence


@pytest.mark.parametrize(("text", "threads"), [("", 0), (" 3 ", 3), ("0", 0), ("1024", 1024)])
def test_the_machine_may_say_how_many_threads(text: str, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG2VID_THREADS", text)
    assert inference.resolve(LoadOptions(device="cpu")).threads == threads
    assert inference.resolve(LoadOptions(device="cpu", threads=2)).threads == 2


@pytest.mark.parametrize("text", ["two", "-1", "1.5", "1025", "9" * 5000, "²"])
def test_an_invalid_number_of_threads_is_refused(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMG2VID_THREADS", text)
    with pytest.raises(BadInput) as caught:
        inference.resolve(LoadOptions(device="cpu"))
    said = str(caught.value)
    assert len(said) < 500
    start, _, end = f"IMG2VID_THREADS must be a whole number from 0 to 1024, got {text!r}".partition("9" * 500)
    assert said.startswith(start) and said.endswith(end[-20:])


def test_the_processor_is_called_cpu_and_works() -> None:
    assert inference.device_name("cpu") == "CPU"
    assert inference.device_works("cpu")
