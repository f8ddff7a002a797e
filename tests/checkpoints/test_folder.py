"""Checkpoints of several files: download, verification and removal of diffusers folders, and UNets over a base."""

import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pytest

from img2vid.checkpoints.adding import propose
from img2vid.checkpoints.download import arrived_bytes, download, download_folder, part_of
from img2vid.checkpoints.progress import Progress
from img2vid.checkpoints.removing import plan_removal, remove
from img2vid.checkpoints.sources import find_source
from img2vid.checkpoints.verify import verify
from img2vid.errors import BadInput, CheckpointError
from img2vid.versions import ModelVersion, find_version

NAMES = {
    "unet/diffusion_pytorch_model.fp16.safetensors": "down_blocks.0.resnets.0.temporal_res_block.conv1.weight",
    "vae/diffusion_pytorch_model.fp16.safetensors": "decoder.conv_in.weight",
    "image_encoder/model.fp16.safetensors": "visual_projection.weight",
}


def content(name: str, values: int = 8) -> bytes:
    header = json.dumps({name: {"dtype": "F16", "shape": [values], "data_offsets": [0, 2 * values]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(2 * values)


FILES = {file: content(name) for file, name in NAMES.items()}


def facts(files: dict[str, bytes]) -> dict[str, Any]:
    return {file: {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()} for file, data in files.items()}


def write(folder: Path, files: dict[str, bytes] = FILES) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def published(project: Path) -> ModelVersion:
    """Return svd_xt with the files above as its diffusers folder."""
    row = find_version("svd_xt").model_dump() | {"diffusers": facts(FILES), "checkpoint": "mine.safetensors"}
    return ModelVersion.model_validate(row)


def test_a_folder_is_downloaded_and_is_the_checkpoint(published: ModelVersion, project: Path, tmp_path: Path) -> None:
    source = write(tmp_path / "disk")
    (source / "model_index.json").write_text("{}", encoding="utf-8")
    seen: list[Progress] = []

    def find(file: str) -> Any:
        return find_source(published, str(source), file=file)

    folder = download_folder(published, find, seen.append)
    assert folder == project / "mine" == published.checkpoint_path
    assert {path.relative_to(folder).as_posix() for path in published.files} == NAMES.keys()
    total = sum(map(len, FILES.values()))
    assert published.size_on_disk == total
    assert {progress.total for progress in seen} == {total} and seen[-1].done == total
    assert [progress.done for progress in seen] == sorted(progress.done for progress in seen)
    assert verify(published).known
    assert download_folder(published, find) == folder, "it is not downloaded again"
    removal = plan_removal(published)
    assert set(removal.files) == set(published.files)
    remove(removal)
    assert published.checkpoint_path is None and not folder.exists()


def test_files_on_the_hub_are_named_with_their_folder(published: ModelVersion) -> None:
    source = find_source(published, file="vae/diffusion_pytorch_model.fp16.safetensors")
    assert source.url.endswith("-img2vid-xt/resolve/main/vae/diffusion_pytorch_model.fp16.safetensors")
    with pytest.raises(BadInput, match="several files; pass their folder or repository"):
        find_source(published, "https://example.org/svd.safetensors", file="vae/x.safetensors")


def test_an_unfinished_folder_is_not_a_checkpoint_and_resumes(
    published: ModelVersion, project: Path, tmp_path: Path
) -> None:
    unet, vae, _ = FILES
    write(project / "mine", {unet: FILES[unet]})
    part = part_of(project / "mine" / vae)
    part.parent.mkdir()
    part.write_bytes(FILES[vae][:20])
    assert published.checkpoint_path is None
    assert arrived_bytes(published) == len(FILES[unet]) + 20
    with pytest.raises(CheckpointError, match="the checkpoint of svd_xt is missing"):
        published.require_checkpoint()
    source = write(tmp_path / "disk")
    download_folder(published, lambda file: find_source(published, str(source), file=file))
    assert published.checkpoint_path == project / "mine" and not part.exists()


def test_a_wrong_file_of_a_folder_is_moved_aside(published: ModelVersion, project: Path, tmp_path: Path) -> None:
    source = write(
        tmp_path / "disk",
        {
            **FILES,
            "vae/diffusion_pytorch_model.fp16.safetensors": FILES["vae/diffusion_pytorch_model.fp16.safetensors"][:-1]
            + b"x",
        },
    )
    with pytest.raises(CheckpointError, match=r"the file from .* is not diffusion_pytorch_model"):
        download_folder(published, lambda file: find_source(published, str(source), file=file))
    assert published.checkpoint_path is None


def test_a_damaged_file_of_a_folder_is_found(published: ModelVersion, project: Path) -> None:
    folder = write(project / "mine")
    file = folder / "vae" / "diffusion_pytorch_model.fp16.safetensors"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(CheckpointError, match=re.escape(f"{file} is damaged or a different file")):
        verify(published)
    (folder / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(content("conv_in.bias"))
    with pytest.raises(CheckpointError, match="is not the unet of Stable Video Diffusion"):
        verify(published)


def test_other_versions_have_no_folder(published: ModelVersion) -> None:
    tiny = find_version("svd_tiny").model_copy(update={"checkpoint": "tiny.safetensors"})
    with pytest.raises(BadInput, match="svd_tiny is not published in diffusers' layout; choose from svd, svd_xt"):
        download_folder(tiny, lambda file: find_source(tiny, file=file))


def test_a_folder_is_proposed_with_the_checksums_of_its_files(project: Path) -> None:
    folder = write(project / "my_xt")
    version = propose(folder, lambda path, configs, unet: next(one for one in configs if one.name == "svd.yaml"))
    assert (version.checkpoint, version.num_frames, version.bytes) == ("my_xt", 25, None)
    assert {name: one.model_dump() for name, one in version.diffusers.items()} == facts(FILES)
    assert version.checkpoint_path == folder and verify(version).known


# A UNet over a base


@pytest.fixture
def mixed(project: Path) -> ModelVersion:
    data = FILES["unet/diffusion_pytorch_model.fp16.safetensors"]
    row = find_version("svd_xt_animatelcm").model_dump()
    return ModelVersion.model_validate(row | {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})


def test_a_version_with_a_unet_needs_both_files(mixed: ModelVersion, project: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"models download svd_xt_animatelcm.* place AnimateLCM-SVD-xt\.safe"):
        mixed.require_checkpoint()
    source = tmp_path / "AnimateLCM-SVD-xt.safetensors"
    source.write_bytes(FILES["unet/diffusion_pytorch_model.fp16.safetensors"])
    unet = download(mixed, find_source(mixed, str(tmp_path)))
    assert unet == project / source.name == mixed.unet_path
    with pytest.raises(CheckpointError, match=r"replaces the UNet of svd_xt\.safetensors.*models download svd_xt`"):
        mixed.require_checkpoint()
    base = project / "svd_xt.safetensors"
    base.write_bytes(b"x")
    assert mixed.require_checkpoint() == base
    assert mixed.files == [base, unet]
    assert verify(mixed).path == unet, "the base is verified with its own version"
    assert plan_removal(mixed).files == (unet,)
    assert "svd_xt_animatelcm" in plan_removal(find_version("svd_xt")).others


def test_a_unet_is_proposed_over_its_base(mixed: ModelVersion, project: Path) -> None:
    unet = project / "tuned.safetensors"
    unet.write_bytes(content(NAMES["unet/diffusion_pytorch_model.fp16.safetensors"], 9))
    (project / "svd_xt.safetensors").write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"is the UNet alone.*name the version whose UNet it replaces with --b"):
        propose(unet, lambda path, configs, other: configs[0])
    asked: list[Any] = []

    def fits(path: Path, configs: Any, other: Path | None) -> Path:
        asked.append((path, other))
        return configs[0]

    base = find_version("svd_xt")
    version = propose(unet, fits, base=base)
    assert asked == [(project / "svd_xt.safetensors", unet)]
    assert (version.checkpoint, version.unet, version.defaults) == (base.checkpoint, "tuned.safetensors", base.defaults)
    assert version.num_frames == 25 and version.bytes == unet.stat().st_size and not version.diffusers
