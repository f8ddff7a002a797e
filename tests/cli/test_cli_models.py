"""In-process tests of `img2vid models`: output, prompts, written rows and errors."""

import errno
import hashlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from diffusers_models import write_config, write_folder
from golden_models import CPU
from safetensors.torch import load_file, save_file

from img2vid import paths
from img2vid.checkpoints.rows import add_row
from img2vid.checkpoints.sources import Source
from img2vid.cli import main
from img2vid.engine import load_engine
from img2vid.errors import BadInput, Img2VidError
from img2vid.versions import ModelVersion, find_version, load_versions


@dataclass(frozen=True)
class Said:
    """Output and exit code of a command."""

    code: int
    out: str
    err: str


Models = Callable[..., Said]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Models:
    """Return a function that runs a command in a project with an empty checkpoint folder and its own version rows."""
    (tmp_path / "project" / "checkpoints").mkdir(parents=True)
    configs = shutil.copytree(paths.CONFIGS, tmp_path / "project" / "configs")
    (configs / "versions.local.yaml").unlink(missing_ok=True)
    monkeypatch.setattr(paths, "PROJECT", tmp_path / "project")
    monkeypatch.setattr(paths, "CONFIGS", configs)
    monkeypatch.setenv("IMG2VID_HOME", str(tmp_path / "home"))
    for name in ("IMG2VID_CHECKPOINTS", "IMG2VID_TRACEBACK"):
        monkeypatch.delenv(name, raising=False)

    def run(*arguments: object) -> Said:
        code = main.run(["models", *map(str, arguments)])
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return run


@pytest.fixture
def folder(models: Models) -> Path:
    return paths.PROJECT / "checkpoints"


@pytest.fixture
def wide(folder: Path, random_checkpoint: Path) -> Path:
    """Return the user's own checkpoint in float32."""
    path = folder / "wide xt.safetensors"
    save_file({name: tensor.float() for name, tensor in load_file(random_checkpoint).items()}, path)
    return path


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


# download


@pytest.mark.parametrize(
    ("option", "stdin", "token", "warned"),
    [
        ([], "", None, False),
        (["--token"], "hf_typed\n", "hf_typed", False),
        (["--token", "hf_given"], "", "hf_given", True),
    ],
)
def test_a_token_is_asked_for_or_given_with_a_warning(
    option: list[str], stdin: str, token: str | None, warned: bool, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens: list[str | None] = []

    def refuse(version: ModelVersion, source: Source, on_progress: object) -> Path:
        tokens.append(source.token)
        raise Img2VidError("no network")

    monkeypatch.setattr("img2vid.cli.models.download", refuse)
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
    said = models("download", "svd_xt_1_1", *option)
    assert (said.code, tokens) == (1, [token])
    assert ("visible to other users" in said.err) == warned
    assert "hf_" not in said.err


def test_a_token_is_typed_unseen_at_a_terminal(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("seen\n"))
    asked: list[str] = []
    monkeypatch.setattr("img2vid.cli.models.getpass", lambda text: asked.append(text) or " ")
    said = models("download", "svd_xt_1_1", "--token")
    assert (said.code, asked) == (2, ["Token (hidden): "])
    assert "no token was entered" in said.err


@pytest.mark.parametrize("token", ["hf_a\r\nHost: other", "hf_ü", "hf_a b", "hf_\x1b"])
def test_tokens_with_other_characters_are_refused_and_not_shown(token: str, models: Models) -> None:
    said = models("download", "svd_xt_1_1", "--token", token)
    assert said.code == 2
    assert "the token contains characters that tokens cannot have" in said.err and "hf_a" not in said.err


# list


def test_versions_are_listed_one_a_line_with_their_checkpoints(
    models: Models, folder: Path, random_checkpoint: Path
) -> None:
    there = shutil.copy(random_checkpoint, folder)
    said = models("list")
    assert (said.code, said.err) == (0, "")
    lines = {line.split()[0]: line for line in said.out.splitlines()}
    assert list(lines)[:3] == ["version", "svd_tiny", "svd_tiny_xt"]
    assert str(there) in lines["svd_tiny"]
    assert "25      1024 x 576" in lines["svd_xt"]
    assert "missing: svd_xt.safetensors (9.56 GB), source: huggingface.co/stabilityai/" in lines["svd_xt"]


def test_versions_as_json_are_one_object_a_line(models: Models, folder: Path, random_checkpoint: Path) -> None:
    there = shutil.copy(random_checkpoint, folder)
    rows = {row["name"]: row for row in map(json.loads, models("list", "--json").out.splitlines())}
    assert rows["svd_tiny"]["checkpoint_path"] == str(there)
    assert rows["svd_xt"]["checkpoint_path"] is None
    assert (rows["svd_xt"]["num_frames"], rows["svd_xt"]["defaults"]["num_steps"]) == (25, 30)


# download and verify


def test_a_file_at_hand_becomes_the_checkpoint(models: Models, folder: Path, random_checkpoint: Path) -> None:
    said = models("download", "svd_tiny", "--from", random_checkpoint)
    there = folder / "svd_tiny.safetensors"
    assert (said.code, said.out) == (0, f"{there}\n")
    assert there.read_bytes() == random_checkpoint.read_bytes()
    again = models("download", "svd_tiny")
    assert (again.code, again.out) == (0, f"{there}\n")
    assert "svd_tiny is already installed" in again.err


def test_a_wrong_file_at_hand_is_refused_with_a_sentence(models: Models, folder: Path, random_checkpoint: Path) -> None:
    said = models("download", "svd", "--from", random_checkpoint)
    assert said.code == 2
    assert "but svd.safetensors has 9,560,000,000" in said.err
    assert not (folder / "svd.safetensors").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("download", "svd_huge"), "there is no model version 'svd_huge'; choose one of svd_tiny,"),
        (("download", "svd_tiny"), "svd_tiny has no download address (source: comes with img2vid)"),
        (("download", "svd", "svd_xt", "--from", "x"), "--from must be a folder for several versions, got x"),
        (("download",), "the following arguments are required: VERSION; see `img2vid models download --help`"),
        (("verify", "svd"), "the checkpoint of svd is missing"),
        (("add", ""), "a path is needed, got ''"),
        (("remove", "svd_tiny"), "svd_tiny comes with img2vid; pass --shipped"),
        (("remove", "svd"), "svd is not installed, so there is nothing to remove"),
        (("convert", "svd"), "the checkpoint of svd is missing"),
        (("add", "nothing.safetensors"), "nothing.safetensors does not exist"),
        (("add", "model.ckpt"), "is not a .safetensors file; convert it to that format first"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(models: Models, arguments: tuple[str, ...], words: str) -> None:
    said = models(*arguments)
    assert (said.code, said.out) == (2, "")
    assert words in said.err and said.err.count("\n") == 1


def test_verify_looks_at_everything_that_is_there(models: Models, folder: Path, random_checkpoint: Path) -> None:
    shutil.copy(random_checkpoint, folder)
    (folder / "svd.safetensors").write_bytes(b"no checkpoint at all")
    said = models("verify")
    assert said.code == 2
    assert said.out.startswith("svd_tiny: ") and "is readable" in said.out
    assert "svd: " in said.err and "is not a .safetensors file" in said.err


@pytest.mark.parametrize("error", [OSError(errno.EIO, "Input/output error"), ValueError("odd"), BadInput("missing")])
def test_a_version_that_fails_leaves_the_others(
    models: Models, folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Regression: only errors of img2vid were expected when verifying, and none when downloading."""

    def act(version: ModelVersion, *_: object) -> Any:
        if version.name == "svd":
            raise error
        return SimpleNamespace(sentence=lambda: "is readable")

    for name in ("verify", "download", "find_source"):
        monkeypatch.setattr(f"img2vid.cli.models.{name}", act if name != "find_source" else lambda *_: "")
    for command in ("verify", "download"):
        said = models(command, "svd", "svd_xt")
        assert said.code == (2 if isinstance(error, BadInput) else 1)
        assert len(said.out.splitlines()) == 1
        assert said.err.splitlines()[-1].startswith("img2vid: 1 of 2 versions failed: svd (")


# add, convert, remove


def test_a_file_is_added_after_asking(
    models: Models, wide: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "not a terminal, so cannot ask for confirmation; pass --yes" in models("add", wide).err
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    said = models("add", wide)
    assert (said.code, said.out) == (1, "")
    assert "nothing changed" in said.err
    assert "wide_xt" not in load_versions()
    monkeypatch.setattr("sys.stdin", Terminal("y\n"))
    said = models("add", wide)
    assert (said.code, said.out) == (0, "wide_xt\n")
    assert "is fp32 and matches svd_tiny.yaml" in said.err
    version = load_versions()["wide_xt"]
    assert (version.num_frames, version.size_step, version.checkpoint) == (25, 16, wide.name)
    assert version.bytes == wide.stat().st_size
    assert version.sha256 == hashlib.sha256(wide.read_bytes()).hexdigest()
    assert models("add", wide, "--yes").code == 2


def test_a_file_elsewhere_is_named_by_its_path_and_never_deleted(
    models: Models, random_checkpoint: Path, tmp_path: Path
) -> None:
    own = Path(shutil.copy(random_checkpoint, tmp_path / "own.safetensors"))
    assert models("add", own, "--yes", "--name", "mine", "--num-frames", "20").code == 0
    version = load_versions()["mine"]
    assert (version.checkpoint_path, version.num_frames) == (own, 20)
    said = models("remove", "mine", "--yes")
    assert said.code == 0 and "deletes the entry mine in versions.local.yaml" in said.err
    assert own.is_file() and "mine" not in load_versions()


def test_a_file_that_lacks_a_part_is_not_added(models: Models, folder: Path, random_checkpoint: Path) -> None:
    tensors = load_file(random_checkpoint)
    lacking = {name: tensor for name, tensor in tensors.items() if not name.startswith("conditioner.embedders.3.")}
    save_file(lacking, folder / "comfy.safetensors")
    said = models("add", folder / "comfy.safetensors", "--yes")
    assert said.code == 2
    assert "lacks conditioner.embedders.3, the encoder of the conditioning frame" in said.err


def test_a_copy_in_fp16_is_half_as_large_and_a_version_of_its_own(models: Models, wide: Path) -> None:
    models("add", wide, "--yes")
    before = wide.read_bytes()
    said = models("convert", "wide_xt", "--precision", "fp16")
    assert (said.code, said.out) == (0, "wide_xt_fp16\n")
    copy = load_versions()["wide_xt_fp16"]
    path = copy.require_checkpoint()
    assert path.stat().st_size == copy.bytes
    assert copy.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert abs(path.stat().st_size / wide.stat().st_size - 0.5) < 0.01
    assert "(50%)" in said.err and "wide xt.safetensors is unchanged" in said.err
    assert wide.read_bytes() == before
    assert models("verify", "wide_xt_fp16").code == 0
    assert "choose another name with --name" in models("convert", "wide_xt").err
    assert "it needs no conversion" in models("convert", "wide_xt_fp16").err


def test_a_copy_in_float8_is_verified_added_and_loaded(models: Models, wide: Path, tmp_path: Path) -> None:
    models("add", wide, "--yes")
    models("convert", "wide_xt")
    said = models("convert", "wide_xt", "--precision", "fp8_e4m3fn")
    assert (said.code, said.out) == (0, "wide_xt_fp8_e4m3fn\n")
    copy = load_versions()["wide_xt_fp8_e4m3fn"]
    assert (copy.bytes or 0) < 0.9 * (load_versions()["wide_xt_fp16"].bytes or 0)
    assert models("verify", copy.name).code == 0
    other = Path(shutil.copy(copy.require_checkpoint(), tmp_path / "other.safetensors"))
    assert models("add", other, "--yes", "--num-frames", 14).out == "other\n"
    assert load_engine(copy.config_path, other, CPU).size_step == 16


def test_remove_deletes_after_asking(
    models: Models, folder: Path, random_checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = Path(shutil.copy(random_checkpoint, folder / "svd.safetensors"))
    part = folder / "svd.safetensors.part"
    part.write_bytes(b"some")
    monkeypatch.setattr("sys.stdin", Terminal("\n"))
    assert models("remove", "svd").code == 1
    assert there.is_file()
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    said = models("remove", "svd")
    assert said.code == 0 and str(there) in said.err
    assert not there.exists() and not part.exists()


def test_removing_a_file_names_both_versions_that_use_it(models: Models, folder: Path, random_checkpoint: Path) -> None:
    shutil.copy(random_checkpoint, folder / "svd.safetensors")
    row = {**yaml.safe_load((paths.CONFIGS / "versions.yaml").read_text(encoding="utf-8"))["svd"], "num_frames": 20}
    (paths.CONFIGS / "versions.local.yaml").write_text(yaml.safe_dump({"twin": row}), encoding="utf-8")
    assert "also used by twin" in models("remove", "svd", "--yes").err
    (folder / "sd_xl_base_1.0.safetensors").write_bytes(b"weights")
    images = yaml.safe_load((paths.CONFIGS / "image_versions.yaml").read_text(encoding="utf-8"))
    row = {"fewer_steps": {**images["sd_xl_base_1.0"], "steps": 20}}
    (paths.CONFIGS / "image_versions.local.yaml").write_text(yaml.safe_dump(row), encoding="utf-8")
    assert "also used by fewer_steps" in models("remove", "sd_xl_base_1.0", "--yes").err


def test_ctrl_c_says_what_is_left(models: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("img2vid.cli.models.download", stopped)
    said = models("download", "svd")
    assert (said.code, said.out) == (130, "")
    assert said.err == "img2vid: stopped; a download resumes from here when you start it again\n"


# Checkpoints of several files


@pytest.mark.takes_long("several commands import torch's models and convert")
def test_a_folder_is_added_listed_and_converted(models: Models, folder: Path, tmp_path: Path) -> None:
    config = write_config(tmp_path)
    write_folder(folder / "tuned", ".fp16", torch.float16)
    row = find_version("svd_tiny").model_copy(update={"name": "like", "config": str(config)})
    add_row(row)
    added = models("add", folder / "tuned", "--config", config, "--num-frames", 14, "--yes")
    assert added.code == 0 and added.out == "tuned\n"
    version = load_versions()["tuned"]
    assert len(version.diffusers) == 3 and version.checkpoint == "tuned"
    assert f"{folder / 'tuned'} (0.01 GB, diffusers' layout)" in models("list").out
    assert "SHA-256 matches" in models("verify", "tuned").out
    converted = models("convert", "tuned")
    assert converted.out == "tuned_fp16\n", converted.err
    copy = load_versions()["tuned_fp16"]
    assert (copy.checkpoint, copy.diffusers) == ("tuned_fp16.safetensors", {})
    unet = folder / "tuned" / "unet" / "diffusion_pytorch_model.fp16.safetensors"
    assert models("add", unet, "--base", "tuned_fp16", "--name", "mixed", "--yes").out == "mixed\n"
    mixed = load_versions()["mixed"]
    assert (mixed.checkpoint, mixed.num_frames) == ("tuned_fp16.safetensors", 14)
    assert f"with the UNet {unet}" in models("list").out
    whole = models("convert", "mixed", "--name", "whole")
    assert whole.out == "whole\n", whole.err
    assert load_versions()["whole"].sha256 == copy.sha256, "the same weights in the same order"
    assert "; also used by mixed" in models("remove", "tuned", "--yes").err
    assert not (folder / "tuned").exists() and copy.checkpoint_path is not None
    assert models("remove", "mixed", "--yes").code == 0
    assert {"tuned", "mixed"}.isdisjoint(load_versions())


def test_a_unet_alone_without_a_base_is_refused(models: Models, folder: Path) -> None:
    unet = write_folder(folder / "tuned") / "unet" / "diffusion_pytorch_model.safetensors"
    assert "name the version whose UNet it replaces with --base" in models("add", unet, "--yes").err
