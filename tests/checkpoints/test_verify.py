"""Verification messages: valid, damaged, incomplete, or another kind of file."""

from pathlib import Path

import pytest
from file_server import FileServer

from img2vid.checkpoints.progress import Progress
from img2vid.checkpoints.verify import verify
from img2vid.errors import CheckpointError
from img2vid.versions import ModelVersion


@pytest.fixture
def file(project: Path, server: FileServer) -> Path:
    path = project / "model.safetensors"
    path.write_bytes(server.data)
    return path


def test_a_right_file_is_read_to_its_end(version: ModelVersion, file: Path) -> None:
    seen: list[Progress] = []
    found = verify(version, seen.append)
    assert found.known and (found.path, found.bytes, found.sha256) == (file, file.stat().st_size, version.sha256)
    assert found.sentence().endswith("SHA-256 matches")
    assert (seen[-1].stage, seen[-1].done, seen[-1].total) == ("check", found.bytes, found.bytes)


def test_without_a_known_checksum_the_file_is_whole_and_more_cannot_be_said(version: ModelVersion, file: Path) -> None:
    found = verify(version.model_copy(update={"sha256": None}))
    assert not found.known
    assert "there is no reference to compare its SHA-256" in found.sentence()


def test_one_wrong_bit_is_found(version: ModelVersion, file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(
        CheckpointError, match=r"damaged or a different file: SHA-256 .*\(`img2vid models remove svd_xt`\)"
    ):
        verify(version)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<html>sign in</html>", r"is not a \.safetensors file"),
        (None, "is incomplete: .* bytes; download it again"),
        (b"\x02\0\0\0\0\0\0\0{}", "is not a Stable Video Diffusion checkpoint.*; remove it"),
    ],
)
def test_a_malformed_file_is_reported_before_its_checksum(
    version: ModelVersion, file: Path, data: bytes | None, words: str
) -> None:
    file.write_bytes(file.read_bytes()[:-1] if data is None else data)
    with pytest.raises(CheckpointError, match=words):
        verify(version)


def test_a_missing_file_is_reported(version: ModelVersion) -> None:
    with pytest.raises(CheckpointError, match="the checkpoint of svd_xt is missing"):
        verify(version)
