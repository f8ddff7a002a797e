"""Facts for the doctor, on the test machine and on simulated ones."""

import json
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from checkpoint_files import rows_of, write_header

from img2vid import paths
from img2vid.engine import probe
from img2vid.errors import ConfigError, EngineUnavailable
from img2vid.versions import find_version

TINY = paths.CONFIGS / "svd_tiny.yaml"


def test_the_facts_of_this_machine_are_json() -> None:
    facts = probe.torch_facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["version"] == torch.__version__
    assert facts["cpu_fault"] == ""
    assert len(facts["cards"]) == (torch.cuda.device_count() if torch.cuda.is_available() else 0)


def test_the_processor_is_described_with_the_fast_paths_that_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "slowdown", {"fp16": 15.123, "bf16": 0.5}.__getitem__)
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    facts = probe.processor_facts()
    assert json.loads(json.dumps(facts)) == facts
    assert (facts["slowdown"], facts["threads"]) == ({"fp16": 15.12, "bf16": 0.5}, torch.get_num_threads())
    assert facts["limits"]["ONEDNN_MAX_CPU_ISA"] == "AVX2"
    tried = [(row["path"], row["device"], row["precision"]) for row in facts["fast_paths"] if row["device"] == "cpu"]
    assert sorted(tried) == [("oneDNN products", "cpu", precision) for precision in ("bf16", "fp16", "fp32")]


def test_instruction_sets_have_their_common_names(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"avx2": True, "avx512_f": False, "l1d_cache_size": 1, "cpu_name": "a processor"}
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: found, raising=False)
    assert probe.processor_facts()["instructions"] == ["AVX2"]
    monkeypatch.delattr(torch.cpu, "get_capabilities")
    assert probe.processor_facts()["instructions"] == []


@pytest.fixture
def card(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a GPU that torch finds, independent of the machine."""
    properties = SimpleNamespace(name="NVIDIA GeForce RTX 5090", major=12, minor=0, total_memory=34_000_000_000)
    for name, value in {
        "is_available": True,
        "device_count": 1,
        "get_arch_list": ["sm_90"],
        "get_device_properties": properties,
        "mem_get_info": (30_000_000_000, 34_000_000_000),
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *arguments, value=value: value)


@pytest.mark.usefixtures("card")
def test_a_gpu_that_fails_is_detected_although_torch_reports_it_as_available(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fault = "CUDA error: no kernel image is available for execution on the device"
    monkeypatch.setattr(probe, "kernel_fault", lambda device, dtype: fault if device == "cuda:0" else "")
    (card,) = probe.torch_facts()["cards"]
    assert card == {
        "name": "NVIDIA GeForce RTX 5090",
        "capability": [12, 0],
        "memory": 34_000_000_000,
        "free": None,
        "fault": fault,
    }


@pytest.mark.usefixtures("card")
def test_a_working_gpu_reports_its_free_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "kernel_fault", lambda device, dtype: "")
    facts = probe.torch_facts()
    assert (facts["cards"][0]["free"], facts["cards"][0]["fault"]) == (30_000_000_000, "")
    assert facts["architectures"] == ["sm_90"]


def test_torchs_warning_about_an_unusable_gpu_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def unavailable() -> bool:
        warnings.warn("CUDA initialization: the driver\n is too old.", UserWarning, stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", unavailable)
    facts = probe.torch_facts()
    assert facts["unavailable"] == "CUDA initialization: the driver is too old"
    assert facts["cards"] == []


def test_the_test_kernels_run() -> None:
    assert probe.kernel_fault("cpu", torch.float32) == ""
    assert probe.kernel_fault("cpu", torch.float16) == ""


def test_a_device_that_fails_gives_its_reason_on_one_line_without_general_advice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("CUDA error: unspecified\nlaunch failure\nCUDA kernel errors might be reported later.")

    monkeypatch.setattr(torch, "full", full)
    assert probe.kernel_fault("cpu", torch.float32) == "CUDA error: unspecified launch failure"


def test_a_device_with_wrong_results_is_detected(monkeypatch: pytest.MonkeyPatch) -> None:
    right = torch.full
    monkeypatch.setattr(torch, "full", lambda size, value, **options: right(size, 0.0, **options))
    assert probe.kernel_fault("cpu", torch.float32) == "expected 16 and 36, computed 0 and 36"


def test_the_shipped_checkpoints_are_whole() -> None:
    for name in ("svd_tiny", "svd_tiny_xt"):
        version = find_version(name)
        assert probe.checkpoint_fault(version.config_path, version.require_checkpoint()) == ""


def test_a_checkpoint_of_a_full_model_is_compared_with_its_configuration(tmp_path: Path) -> None:
    config = paths.CONFIGS / "svd.yaml"
    expected = probe._expected(config)  # pyright: ignore[reportPrivateUsage] - names and shapes
    whole = write_header(tmp_path / "whole.safetensors", rows_of(expected))
    assert probe.checkpoint_fault(config, whole) == ""
    cut = write_header(tmp_path / "cut.safetensors", rows_of(expected), missing_bytes=1)
    assert "is incomplete" in probe.checkpoint_fault(config, cut)
    assert "choose the checkpoint for this configuration" in probe.checkpoint_fault(TINY, whole)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", (10).to_bytes(8, "little") + b"{}"])
def test_an_invalid_checkpoint_gives_the_error_of_the_loader(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "svd_tiny.safetensors"
    path.write_bytes(content)
    assert probe.checkpoint_fault(TINY, path).startswith(str(path))


def test_an_invalid_configuration_is_not_reported_as_a_fault_of_the_file(tmp_path: Path) -> None:
    config = tmp_path / "own.yaml"
    config.write_text("model: 3\n", encoding="utf-8")
    with pytest.raises(ConfigError):
        probe.checkpoint_fault(config, find_version("svd_tiny").require_checkpoint())


def test_sgm_that_is_not_installed_is_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise EngineUnavailable("it is missing") from ModuleNotFoundError("No module named 'sgm'", name="sgm")

    monkeypatch.setattr(probe, "import_sgm", missing)
    assert probe.sgm_fault() is None


def test_sgm_that_is_installed_and_broken_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> None:
        raise EngineUnavailable("it is broken") from ModuleNotFoundError("No module\nnamed 'kornia'", name="kornia")

    monkeypatch.setattr(probe, "import_sgm", broken)
    assert probe.sgm_fault() == "ModuleNotFoundError: No module named 'kornia'"


def test_sgm_that_imports_has_no_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe, "import_sgm", lambda: sys)
    assert probe.sgm_fault() == ""
