"""Processor finding, from facts recorded on several machines."""

from typing import Any

import pytest

from img2vid.doctor import facts as facts_of_computer
from img2vid.doctor import processor
from img2vid.doctor.report import State

ONEDNN = {"path": "oneDNN products", "device": "cpu"}
LACKING = "this processor lacks instructions for this number format"
ZEN3: dict[str, Any] = {
    "instructions": ["AVX2"],
    "level": "AVX2",
    "limits": {},
    "threads": 8,
    "slowdown": {"fp16": 15.0, "bf16": 14.1},
    "fast_paths": [
        {**ONEDNN, "precision": "fp32", "fault": ""},
        {**ONEDNN, "precision": "fp16", "fault": LACKING},
        {**ONEDNN, "precision": "bf16", "fault": LACKING},
    ],
}


@pytest.fixture(autouse=True)
def _a_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(facts_of_computer, "processor", lambda: "AMD Ryzen 7 5800X, 8 cores, 16 threads")


def test_a_processor_without_short_formats() -> None:
    finding = processor.judge_processor(ZEN3, "")
    assert finding.state is State.OK
    assert finding.found == (
        "AMD Ryzen 7 5800X, 8 cores, 16 threads: AVX2, PyTorch uses 8 threads. "
        "Compared with fp32: fp16 and bf16 slower. "
        f"Fast path oneDNN products: in fp32; not in fp16 ({LACKING}); not in bf16 ({LACKING})."
    )


def test_a_faster_one_that_is_held_back_with_a_card_beside_it() -> None:
    triton = [{"path": "Triton", "device": "cuda", "precision": name, "fault": ""} for name in ("fp32", "fp16", "bf16")]
    facts = {
        **ZEN3,
        "instructions": ["AVX2", "AVX-512", "AVX-512 BF16"],
        "limits": {"ONEDNN_MAX_CPU_ISA": "AVX2"},
        "slowdown": {"fp16": 3.0, "bf16": 0.5},
        "fast_paths": triton,
    }
    assert processor.judge_processor(facts, "").found == (
        "AMD Ryzen 7 5800X, 8 cores, 16 threads: AVX2, AVX-512, AVX-512 BF16, PyTorch uses 8 threads. "
        "Restricted by ONEDNN_MAX_CPU_ISA=AVX2. Compared with fp32: bf16 faster, fp16 slower. "
        "Fast path Triton on cuda: in fp32, fp16, bf16."
    )


def test_an_older_torch_that_names_no_instruction_sets_and_formats_that_are_alike() -> None:
    facts = {**ZEN3, "instructions": [], "level": "DEFAULT", "slowdown": {"fp16": 1.0, "bf16": 0.9}, "fast_paths": []}
    assert processor.judge_processor(facts, "").found == (
        "AMD Ryzen 7 5800X, 8 cores, 16 threads: DEFAULT, PyTorch uses 8 threads. "
        "Compared with fp32: fp16 and bf16 about as fast."
    )


def test_without_torch_only_the_name_is_known() -> None:
    finding = processor.judge_processor(None, "torch does not work, see above")
    assert (finding.state, finding.found) == (
        State.NOTE,
        "AMD Ryzen 7 5800X, 8 cores, 16 threads. Details unknown: torch does not work, see above.",
    )
