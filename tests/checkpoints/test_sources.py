"""Checkpoint sources: version rows, user input, and the servers that receive the token."""

from pathlib import Path

import pytest

from img2vid.checkpoints.sources import HUB, Source, can_be_downloaded, find_source, repository
from img2vid.errors import BadInput
from img2vid.versions import ModelVersion, load_versions


@pytest.fixture
def hub(version: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> ModelVersion:
    """Return the version, with a token stored by huggingface_hub and no mirror."""
    monkeypatch.delenv("HF_ENDPOINT")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: "hf_stored")
    return version


def test_every_version_that_does_not_come_with_img2vid_names_a_repository() -> None:
    shipped = [name for name, version in load_versions().items() if not can_be_downloaded(version)]
    assert shipped == ["svd_tiny", "svd_tiny_xt"]
    assert repository(load_versions()["svd_xt_1_1"].source) == "stabilityai/stable-video-diffusion-img2vid-xt-1-1"


@pytest.mark.parametrize(
    "text",
    [
        "huggingface.co/a/b.c-d",
        "https://huggingface.co/a/b.c-d",
        "huggingface.co/a/b.c-d/",
        "huggingface.co/a/b.c-d (ask)",
    ],
)
def test_a_repository_is_named_in_several_ways(text: str) -> None:
    assert repository(text) == "a/b.c-d"


@pytest.mark.parametrize(
    "text", ["", "a/b", "huggingface.co/a", "example.org/huggingface.co/a/b", "huggingface.co.evil/a/b"]
)
def test_other_texts_name_none(text: str) -> None:
    assert repository(text) is None


def test_the_repository_of_the_row_is_asked_with_the_stored_token(hub: ModelVersion) -> None:
    source = find_source(hub)
    assert source.url == f"{HUB}/owner/model/resolve/main/model.safetensors"
    assert (source.page, source.token) == (f"{HUB}/owner/model", "hf_stored")
    assert "hf_stored" not in repr(source)


def test_a_mirror_of_the_moment_gets_no_stored_token(hub: ModelVersion) -> None:
    source = find_source(hub, mirror="https://mirror.example/")
    assert source.url == "https://mirror.example/owner/model/resolve/main/model.safetensors"
    assert source.token is None
    assert find_source(hub, mirror="https://mirror.example", token="hf_given").token == "hf_given"


def test_the_mirror_of_the_environment_is_the_hub(hub: ModelVersion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    assert find_source(hub).url.startswith("https://hub.example/owner/model/")


def test_another_repository_an_address_and_a_folder_can_be_given(hub: ModelVersion, tmp_path: Path) -> None:
    assert "/other/copy/resolve/main/model.safetensors" in find_source(hub, "huggingface.co/other/copy").url
    address = "https://example.org/x/file.safetensors"
    assert find_source(hub, address) == Source(address, url=address)
    (tmp_path / "model.safetensors").touch()
    assert find_source(hub, str(tmp_path)).path == tmp_path / "model.safetensors"


def test_an_address_of_a_row_never_gets_the_token_that_was_meant_for_the_hub(hub: ModelVersion) -> None:
    row = hub.model_copy(update={"source": "https://example.org/file.safetensors"})
    assert find_source(row, token="hf_given").token is None


def test_what_will_not_do_is_a_sentence(hub: ModelVersion, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"svd_xt has no download address \(source: comes with img2vid\)"):
        find_source(hub.model_copy(update={"source": "comes with img2vid"}))
    with pytest.raises(BadInput, match=r"no such file: .*nothing\.safetensors"):
        find_source(hub, str(tmp_path / "nothing.safetensors"))
    with pytest.raises(BadInput, match="the mirror must be a URL"):
        find_source(hub, mirror="mirror")
