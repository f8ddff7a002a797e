"""ComfyUI backend: equal results, and sentences about what is missing."""

import os
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from golden_models import CPU

from img2vid.engine.bench.backends import Model, Shape, load_backend
from img2vid.engine.bench.comfyui_backend import import_modules
from img2vid.engine.bench.session import relative_difference
from img2vid.errors import EngineUnavailable
from img2vid.versions import find_version

FOLDER = os.environ.get("IMG2VID_COMFYUI", "")


@pytest.fixture
def own_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Forget the modules that a test imports from its folder."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = {*sys.modules}
    yield
    for name in {*sys.modules} - before:
        if name.partition(".")[0] == "comfy":
            del sys.modules[name]


@pytest.mark.usefixtures("own_modules")
@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("import package_of_comfyui", "ComfyUI needs the package package_of_comfyui; run `python -m pip install"),
        ("from torch import of_another_version", "failed with ImportError: cannot import name 'of_another_version'"),
        ("class args: pass", "ComfyUI needs the package comfy.utils"),
    ],
    ids=["package", "version", "module"],
)
def test_what_is_missing_is_one_sentence(tmp_path: Path, line: str, sentence: str) -> None:
    (tmp_path / "comfy").mkdir()
    (tmp_path / "comfy" / "cli_args.py").write_text(f"{line}\n", encoding="utf-8")
    with pytest.raises(EngineUnavailable) as raised:
        import_modules(tmp_path, "cpu")
    assert sentence in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("version", ["svd_image_decoder", "sv3d_u"])
def test_an_unsupported_model_is_rejected(version: str) -> None:
    with pytest.raises(EngineUnavailable, match="temporal decoder"):
        load_backend("comfyui", Model(str(find_version(version).config_path), "", CPU, "none"))


@pytest.mark.skipif(not FOLDER, reason="IMG2VID_COMFYUI does not name ComfyUI's folder")
@pytest.mark.usefixtures("one_thread")
def test_the_same_weights_and_inputs_give_the_same_results() -> None:
    version = find_version("svd_tiny")
    model = Model(str(version.config_path), str(version.require_checkpoint()), replace(CPU, precision="fp32"), FOLDER)
    native, comfyui = load_backend("native", model), load_backend("comfyui", model)
    shape = Shape(96, 64, 5, 3, steps=3)
    for stage in ("step", "decode"):
        (ours,), (theirs,) = (backend.prepare(stage, shape)() for backend in (native, comfyui))
        expected = ours.clamp(-1, 1) if stage == "decode" else ours  # ComfyUI clamps frames
        assert relative_difference(theirs, expected) < 1e-3
