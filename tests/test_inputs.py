"""Every file of tests/data/inputs, which once failed, gives what its row says; deep.* are compressed."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gallery_entries import add_entry
from made_pictures import COLORS, centers

from img2vid import paths
from img2vid.cli import main
from img2vid.engine.config_tree import load_tree
from img2vid.errors import BadInput
from img2vid.gallery.importing import import_folder
from img2vid.jobs.store import Store
from img2vid.media.pictures import load_picture
from img2vid.ui.uploads import take_upload

INPUTS = Path(__file__).parent / "data" / "inputs"
LINEAR = ((220, 38, 28), (38, 190, 59), (38, 59, 210), (225, 180, 150))
PICTURES = {
    "13_workflow_ztxt3M.png": COLORS,
    "krita_linear16.png": LINEAR,
    "other_name_linear16.png": LINEAR,
    "3_gama1.png": ((239, 110, 96), (110, 224, 133), (110, 133, 234), (241, 219, 202)),
    "folder/00_base.png": COLORS,
    "folder/15_noext": COLORS,
    "folder/15_photo.jfif": COLORS,
    "folder/15_photo.jpe": COLORS,
}
"""Colors of a browser."""
NO_PICTURE = "is a HEIC image that cannot be read here; save it as JPEG or PNG"
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "09_heim.heic": (load_picture, NO_PICTURE),
    "folder/09_heic.heic": (load_picture, NO_PICTURE),
    "cfg_deep900.yaml": (load_tree, r"cfg_deep900\.yaml is not valid YAML: nested more than 64 levels deep"),
    "metadata/deep.json": (
        lambda path: take_upload(b'{"settings": ' + path.read_bytes() + b"}", path.name, []),
        r"'deep\.json' is not valid JSON: nested more than 64 levels deep; add an image",
    ),
    "metadata/deep.mp4": (
        lambda path: take_upload(path.read_bytes(), path.name, []),
        r"'deep\.mp4' is not a video made by img2vid",
    ),
    "metadata/sampler_1.mp4": (
        lambda path: take_upload(path.read_bytes(), path.name, []),
        r"sampler must be one of EulerEDMSampler, .* got 'x'",
    ),
}
OTHERS = {"11_noEOI.jpg", "metadata/good.mp4", "store/badsettings.sqlite", "store/badstate.sqlite"}


@pytest.fixture
def inputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with all inputs as their owners have them."""
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path / "home"))
    for path in INPUTS.rglob("*"):
        if path.is_file():
            data = path.read_bytes()
            target = tmp_path / "inputs" / path.relative_to(INPUTS)
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".gz":
                data, target = gzip.decompress(data), target.with_suffix("")
            target.write_bytes(data)
    return tmp_path / "inputs"


def test_every_input_has_a_row_here(inputs: Path) -> None:
    found = {path.relative_to(inputs).as_posix() for path in inputs.rglob("*") if path.is_file()}
    assert found == {*PICTURES, *REFUSED, *OTHERS}


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_has_the_colors_of_a_browser(inputs: Path, name: str) -> None:
    np.testing.assert_allclose(centers(load_picture(inputs / name)), PICTURES[name], atol=2)


def test_a_jpeg_without_its_end_marker_is_whole(inputs: Path) -> None:
    data = (inputs / "11_noEOI.jpg").read_bytes()
    assert not data.endswith(b"\xff\xd9")
    assert load_picture(inputs / "11_noEOI.jpg").tobytes() == load_picture(data + b"\xff\xd9").tobytes()


@pytest.mark.parametrize("name", REFUSED)
def test_an_unusable_file_is_refused_in_a_sentence(inputs: Path, name: str) -> None:
    read, sentence = REFUSED[name]
    with pytest.raises(BadInput, match=sentence) as caught:
        read(inputs / name)
    assert len(str(caught.value)) < 600


def test_a_folder_becomes_videos_and_what_is_skipped_is_named(
    inputs: Path, random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("IMG2VID_CHECKPOINTS", str(random_checkpoint.parent))
    small = ["--height=64", "--width=64", "--num-frames=2", "--num-steps=1", "--device=cpu"]
    assert main.run(["sample", str(inputs / "folder"), *small]) == 2
    out, err = capsys.readouterr()
    stems = [Path(line).stem.removesuffix("_svd_tiny_seed23") for line in out.splitlines()]
    assert stems == ["00_base", "15_photo", "15_photo_svd_tiny_seed23_2"]
    skipped, _, last = err.splitlines()
    assert skipped.startswith("img2vid: skipped 1 file without a picture suffix: 15_noext;")
    assert last.startswith("img2vid: 1 of 4 pictures failed: ") and "09_heic.heic (it is a HEIC image" in last


def test_a_folder_of_videos_is_imported_without_the_unusable_ones(inputs: Path) -> None:
    outcome = import_folder(Store(), inputs / "metadata", lambda count: None)
    assert outcome.text.startswith("1 video imported from ") and outcome.text.endswith("; 2 left out")
    deep, sampler = outcome.details
    assert deep == "deep.mp4: it has no settings; choose a video made by img2vid"
    assert sampler.startswith("sampler_1.mp4: sampler must be one of EulerEDMSampler, ")


@pytest.mark.parametrize("name", ["badsettings", "badstate"])
def test_an_unreadable_row_is_named_and_the_rest_is_listed(
    inputs: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    paths.home().mkdir()
    (inputs / "store" / f"{name}.sqlite").rename(paths.home() / "img2vid.sqlite")
    other = add_entry(Store(), inputs / "videos")
    assert main.run(["gallery", "list"]) == 1
    out, err = capsys.readouterr()
    assert out.count("\n") == 1 and str(other.result.video) in out
    assert err.startswith("img2vid: video 1 cannot be read") and "`img2vid recover`" in err
