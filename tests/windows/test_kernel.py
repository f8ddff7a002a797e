"""The GPU test, run here on the CPU: its computation, and its messages about a wrong torch."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from machines import PROJECT
from windows import kernel

SCRIPT = PROJECT / "scripts" / "windows" / "kernel.py"


def test_the_processor_computes_correctly(capsys: pytest.CaptureFixture[str]) -> None:
    assert kernel.main(["cpu"]) == 0
    said = capsys.readouterr().out
    assert "the CPU computes correctly" in said
    assert f"torch {torch.__version__}" in said


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what is said where there is no card")
def test_without_a_card_one_sentence_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert kernel.main(["cu118"]) == 1
    assert ("torch finds no GPU" if torch.version.cuda else "another package replaced it") in capsys.readouterr().out


def test_a_build_for_the_processor_in_place_of_the_one_for_the_card_is_found(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.version, "cuda", None)
    assert kernel.main(["cu118"]) == 1
    assert "another package replaced it" in capsys.readouterr().out


@pytest.mark.parametrize(("codes", "expected"), [([0, 0], 0), ([0, 1], 0), ([1, 1], 1)])
def test_one_card_that_works_is_enough_and_the_others_are_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], codes: list[int], expected: int
) -> None:
    cards = iter(codes)
    monkeypatch.setattr(torch.version, "cuda", "11.8")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(codes))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "card")
    monkeypatch.setattr(kernel, "report", lambda *_: next(cards))
    assert kernel.main(["cu118"]) == expected
    assert ("setx CUDA_VISIBLE_DEVICES 0`" in capsys.readouterr().out) == (codes == [0, 1])


def test_a_torch_that_does_not_import_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise OSError('a DLL is missing')", encoding="utf-8")
    program = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import runpy; sys.argv = ['kernel.py', 'cu118']; "
    program += f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "cannot import torch: a DLL is missing\n", "")


def test_a_card_without_kernels_is_reported_with_torchs_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """torch.cuda.is_available() does not detect this."""

    def no_image(*_: object, **__: object) -> float:
        raise RuntimeError("CUDA error: no kernel image is available\nfor execution on the device")

    monkeypatch.setattr(kernel, "compare", no_image)
    assert kernel.report("RTX 5090", "cuda") == 1
    assert "RTX 5090 failed: CUDA error: no kernel image is available for execution" in capsys.readouterr().out


@pytest.mark.parametrize("difference", [0.5, float("nan"), float("inf")])
def test_a_card_that_computes_wrongly_is_found(monkeypatch: pytest.MonkeyPatch, difference: float) -> None:
    monkeypatch.setattr(kernel, "compare", lambda *_, **__: difference)
    assert kernel.report("card", "cuda") == 1


def test_half_precision_stays_well_within_the_tolerance() -> None:
    assert 0 < kernel.compare("cpu", half=True) < kernel.TOLERANCE / 5


@pytest.mark.parametrize(
    ("works", "code", "words"), [(True, 0, "works (difference 0)"), (False, 1, "no compiler here")]
)
def test_torch_compile_is_tried_with_a_computation(
    works: bool, code: int, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def compiled(function: object, **options: object) -> object:
        if not works:
            raise RuntimeError("no compiler\nhere")
        return function

    monkeypatch.setattr(torch, "compile", compiled)
    assert kernel.report_compiled(torch.device("cpu")) == code
    assert words in capsys.readouterr().out


def test_a_compiler_that_computes_wrongly_does_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **_: lambda values: function(values) + 1)
    assert kernel.report_compiled(torch.device("cpu")) == 1
