"""Arbitrary bytes in a checkpoint raise only CheckpointError and never run code from the file."""

import io
import json
import math
import os
import pickle
import re
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from golden_models import CPU, golden_model
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load_file, save, save_file
from torch import Tensor

from img2vid.checkpoints.adding import propose
from img2vid.checkpoints.header import MAX_HEADER, read_header
from img2vid.checkpoints.verify import verify
from img2vid.engine import load_engine
from img2vid.engine.weights.checkpoint import read_tensors
from img2vid.engine.weights.detect_config import fitting_config
from img2vid.errors import CheckpointError
from img2vid.versions import find_version

SMALL = {"model.diffusion_model.time_stack.weight": torch.arange(12.0).reshape(3, 4), "model.bias": torch.zeros(2)}
SMALL["model.diffusion_model.a.time_stack.0.bias"] = torch.ones(5).half()
WHOLE = save(SMALL)
"""Minimal valid file."""
HEADER = 8 + int.from_bytes(WHOLE[:8], "little")
Attempt = Callable[[bytes], None]


@pytest.fixture(scope="module")
def attempt(tmp_path_factory: pytest.TempPathFactory) -> Attempt:
    """Return a function that reads all tensors of a file with the given content."""
    path = tmp_path_factory.mktemp("damaged") / "mine.safetensors"

    def read(content: bytes) -> None:
        path.write_bytes(content)
        for tensor in dict(read_tensors(path, SMALL, allow_pickle=False)).values():
            tensor.sum()

    return read


def framed(header: bytes, data: bytes = b"") -> bytes:
    return len(header).to_bytes(8, "little") + header + data


def test_the_valid_file_is_read(attempt: Attempt) -> None:
    attempt(WHOLE)


@given(st.integers(0, len(WHOLE) - 1))
@settings(deadline=None)
def test_a_file_cut_anywhere_is_refused(attempt: Attempt, length: int) -> None:
    with pytest.raises(CheckpointError, match=r"mine\.safetensors is (incomplete|not a)") as caught:
        attempt(WHOLE[:length])
    assert "download" in str(caught.value)


@given(st.integers(0, HEADER - 1), st.integers(0, 255))
@settings(deadline=None, max_examples=300)
def test_a_header_with_a_wrong_byte_is_refused_or_harmless(attempt: Attempt, place: int, byte: int) -> None:
    content = bytearray(WHOLE)
    content[place] = byte
    try:
        attempt(bytes(content))
    except CheckpointError as error:
        assert "mine.safetensors" in str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
PLACES = JSON | st.lists(JSON, min_size=2, max_size=2)
ROW = st.fixed_dictionaries({"dtype": JSON, "shape": JSON, "data_offsets": PLACES})


@given(JSON | st.dictionaries(st.sampled_from(sorted(SMALL)), ROW | JSON, min_size=1))
@settings(deadline=None, max_examples=300)
def test_any_json_for_a_header_is_refused(attempt: Attempt, header: object) -> None:
    with pytest.raises(CheckpointError, match=r"mine\.safetensors"):
        attempt(framed(json.dumps(header).encode(), b"\0" * 64))


@pytest.mark.parametrize(
    "header",
    [
        b"\xff\xfe garbage",
        b"{" * 10,
        b"[" * 100_000,
        b'{"a": {"dtype": "F32", "shape": [Infinity], "data_offsets": [0, 4]}}',
        b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, NaN]}}',
        b'{"a": {"dtype": "F32", "shape": [1]}}',
        b'{"a": {"dtype": "F32", "shape": 1, "data_offsets": [0, 4]}}',
        b'{"a": 5}',
        b"[]",
    ],
    ids=lambda header: header[:12].decode("latin-1"),
)
def test_headers_that_make_no_sense_are_refused(header: bytes, attempt: Attempt) -> None:
    with pytest.raises(CheckpointError, match="its header is unreadable; download it again"):
        attempt(framed(header))


@pytest.mark.parametrize("content", [b"", b"\x02", b"<html>404</html>", b"version https://git-lfs\noid sha256:0\n"])
def test_files_that_are_no_safetensors_are_refused(content: bytes, attempt: Attempt) -> None:
    with pytest.raises(CheckpointError, match=r"is not a \.safetensors file; download it again or choose another"):
        attempt(content)


@pytest.mark.parametrize("length", [0, 1, MAX_HEADER + 1, 2**63, 2**64 - 1])
def test_impossible_header_lengths_are_refused_without_reading_that_much(length: int, attempt: Attempt) -> None:
    with pytest.raises(CheckpointError, match=r"is not a \.safetensors file"):
        attempt(length.to_bytes(8, "little") + WHOLE[8:])


NAMES = ("model.diffusion_model.time_stack.weight", "model.bias", "model.diffusion_model.a.time_stack.0.bias")


def laid_out(*offsets: tuple[int, int], data: int = 66) -> bytes:
    """Return the small file with other offsets of its tensors, which have 48, 8 and 10 bytes."""
    rows = json.loads(WHOLE[8:HEADER])
    for name, place in zip(NAMES, offsets, strict=True):
        rows[name]["data_offsets"] = place
    return framed(json.dumps(rows).encode(), bytes(data))


def with_row(name: str, row: object) -> bytes:
    """Return the small file with another row in its header."""
    return framed(json.dumps({**json.loads(WHOLE[8:HEADER]), name: row}).encode(), WHOLE[HEADER:])


UNREADABLE = "not a valid .safetensors file: its header is unreadable"


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (laid_out((0, 44), (48, 56), (56, 66)), f"damaged: {NAMES[0]} has 44 bytes for 3 x 4"),
        (laid_out((48, 0), (48, 56), (56, 66)), f"damaged: {NAMES[0]} has -48 bytes for 3 x 4"),
        (laid_out((0, 48), (40, 48), (48, 58), data=58), f"damaged: {NAMES[1]} overlaps another tensor"),
        (laid_out((0, 48), (48, 56), (48, 58), data=58), f"damaged: {NAMES[2]} overlaps another tensor"),
        (laid_out((4, 52), (52, 60), (60, 70), data=70), f"damaged: {NAMES[0]} follows a gap"),
        (laid_out((0, 48), (50, 58), (58, 68), data=68), f"damaged: {NAMES[1]} follows a gap"),
        (laid_out((0, 48), (48, 56), (1056, 1066)), f"damaged: {NAMES[2]} follows a gap"),
        (laid_out((0, 48), (48, 56), (56, 66), data=65), "incomplete: "),
        (laid_out((0, 48), (48, 56), (56, 66), data=67), "damaged: it has 1 bytes too many"),
        (WHOLE + bytes(5000), "damaged: it has 5,000 bytes too many"),
        (framed(b"\xef\xbb\xbf" + WHOLE[8:HEADER], WHOLE[HEADER:]), UNREADABLE),
        (with_row("__metadata__", {"a": 1}), UNREADABLE),
        (with_row("__metadata__", ["a"]), UNREADABLE),
        (with_row("b", {"dtype": "Q4", "shape": [0], "data_offsets": [66, 66]}), UNREADABLE),
        (with_row("\ud800", {"dtype": "F16", "shape": [0], "data_offsets": [66, 66]}), UNREADABLE),
    ],
)
def test_malformed_files_are_refused_in_the_same_words(content: bytes, sentence: str, tmp_path: Path) -> None:
    """Sampling, verifying and adding read the same header; the reference's own reader refuses such files too."""
    path = tmp_path / "mine.safetensors"
    path.write_bytes(content)
    version = find_version("svd_tiny").model_copy(update={"checkpoint": str(path), "sha256": None})
    readers = (
        lambda: dict(read_tensors(path, SMALL, allow_pickle=False)),
        lambda: verify(version),
        lambda: propose(path, fitting_config, name="mine"),
    )
    for read in readers:
        with pytest.raises(CheckpointError, match=f"is {re.escape(sentence)}.*download it again"):
            read()
    with pytest.raises(SafetensorError):
        load_file(path)


def test_entries_of_unused_tensors_are_checked_too(tmp_path: Path) -> None:
    rows = json.loads(WHOLE[8:HEADER])
    rows["extra\x1b"] = {"dtype": "I64", "shape": [2], "data_offsets": [66, 81]}
    path = tmp_path / "mine.safetensors"
    path.write_bytes(framed(json.dumps(rows).encode(), bytes(81)))
    with pytest.raises(CheckpointError, match=r"extra\\x1b has 15 bytes for 2"):
        read_header(path)


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
def test_nan_and_infinity_are_found_when_the_weights_are_loaded(suffix: str, precision: str, tmp_path: Path) -> None:
    """Mapped and converted weights, wherever the value is."""
    version = find_version("svd_tiny")
    tensors = load_file(version.require_checkpoint())
    options = replace(CPU, allow_pickle=True, precision=precision)
    path = tmp_path / f"mine{suffix}"
    for name, value in (
        ("first_stage_model.decoder.conv_in.weight", math.nan),
        ("model.diffusion_model.out.2.weight", math.inf),
        ("conditioner.embedders.3.encoder.quant_conv.bias", -math.inf),
        (max(tensors, key=lambda name: tensors[name].numel()), math.nan),
    ):
        values = tensors[name].view(-1)
        place = len(values) // 2
        kept, values[place] = values[place].clone(), value
        save_file(tensors, path) if suffix == ".safetensors" else torch.save(tensors, path)
        with pytest.raises(CheckpointError, match=f"is damaged: {name} contains NaN or infinity; download it again"):
            load_engine(version.config_path, path, options)
        values[place] = kept


def test_a_weight_that_is_too_large_for_float16_is_not_damage(tmp_path: Path) -> None:
    version = find_version("svd_tiny")
    tensors = {name: tensor.float() for name, tensor in load_file(version.require_checkpoint()).items()}
    tensors["model.diffusion_model.out.2.weight"].view(-1)[5] = 1e5
    save_file(tensors, tmp_path / "mine.safetensors")
    load_engine(version.config_path, tmp_path / "mine.safetensors", replace(CPU, precision="fp16"))


# Pickled checkpoints


class Evil:
    """Object that creates a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.folder),)


def read_pickled(path: Path, allow_pickle: bool = True) -> dict[str, Tensor]:
    return dict(read_tensors(path, SMALL, allow_pickle))


def test_pickled_files_are_refused_unless_they_are_allowed(tmp_path: Path) -> None:
    torch.save(SMALL, tmp_path / "mine.ckpt")
    with pytest.raises(CheckpointError, match=r"can carry code, so use the \.safetensors file, or pass --allow-pickle"):
        read_pickled(tmp_path / "mine.ckpt", allow_pickle=False)


@pytest.mark.parametrize("wrap", [lambda state: state, lambda state: {"state_dict": state, "epoch": 3, "lr": None}])
def test_pickled_weights_are_read_plain_or_as_a_state_dict(wrap: Callable[[Any], Any], tmp_path: Path) -> None:
    torch.save(wrap({**SMALL, "global_step": 7}), tmp_path / "mine.ckpt")
    for name, tensor in read_pickled(tmp_path / "mine.ckpt").items():
        assert torch.equal(tensor, SMALL[name])


def test_a_whole_pickled_model_gives_the_same_latents_as_its_safetensors(tmp_path: Path) -> None:
    golden = golden_model("tiny_svd")
    torch.save({"state_dict": load_file(golden.checkpoint)}, tmp_path / "mine.ckpt")
    latents = golden.recorded["decode.latents"][:1]
    frames = [
        load_engine(golden.config, path, replace(CPU, allow_pickle=True)).decode(latents, 1)
        for path in (tmp_path / "mine.ckpt", golden.checkpoint)
    ]
    assert torch.equal(*frames)


@pytest.mark.parametrize("new_form", [True, False])
@pytest.mark.parametrize("wrap", [lambda evil: evil, lambda evil: {"state_dict": {**SMALL, "evil": evil}}])
def test_code_in_a_pickled_file_is_not_run(new_form: bool, wrap: Callable[[Any], Any], tmp_path: Path) -> None:
    made = tmp_path / "made by the file"
    torch.save(wrap(Evil(made)), tmp_path / "mine.ckpt", _use_new_zipfile_serialization=new_form)
    with pytest.raises(CheckpointError, match="cannot be read as weights only"):
        read_pickled(tmp_path / "mine.ckpt")
    assert not made.exists()


def test_code_in_a_bare_pickle_is_not_run(tmp_path: Path) -> None:
    made = tmp_path / "made by the file"
    (tmp_path / "mine.ckpt").write_bytes(pickle.dumps({"state_dict": Evil(made)}))
    with pytest.raises(CheckpointError, match="cannot be read as weights only"):
        read_pickled(tmp_path / "mine.ckpt")
    assert not made.exists()


@pytest.mark.parametrize("content", [5, [torch.zeros(1)], {"state_dict": [1, 2]}])
def test_pickled_files_of_other_things_are_refused(content: object, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "mine.ckpt")
    with pytest.raises(CheckpointError, match=r"contains no state_dict; use the \.safetensors file"):
        read_pickled(tmp_path / "mine.ckpt")


def test_a_pickled_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist; add it or choose another file"):
        read_pickled(tmp_path / "mine.ckpt")


def pickled() -> bytes:
    buffer = io.BytesIO()
    torch.save(SMALL, buffer)
    return buffer.getvalue()


PICKLED = pickled()
START = PICKLED.index(b"\x80\x02")
ANYWHERE = st.integers(START, START + 400) | st.integers(0, len(PICKLED) - 1)
"""Position in the file, mostly in the pickle at the start of the archive."""


@given(ANYWHERE, st.none() | st.integers(0, 255) | st.sampled_from(b"cbuhtq}](.QR0K"))
@settings(deadline=None, max_examples=400)
@pytest.mark.filterwarnings("ignore")
def test_damaged_pickled_files_are_refused_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, place: int, byte: int | None
) -> None:
    """Files are truncated or have one byte changed. torch's unpickler raises arbitrary exceptions."""
    path = tmp_path_factory.getbasetemp() / "mine.ckpt"
    path.write_bytes(PICKLED[:place] + (b"" if byte is None else bytes([byte]) + PICKLED[place + 1 :]))
    try:
        read_pickled(path)
    except CheckpointError as error:
        assert "mine.ckpt" in str(error)
        assert "\n" not in str(error)
    else:
        assert byte is not None


def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "mine.ckpt", "w") as archive:
        archive.writestr("archive/data.pkl", b"not a pickle")
    with pytest.raises(CheckpointError, match="cannot be read as weights only"):
        read_pickled(tmp_path / "mine.ckpt")
