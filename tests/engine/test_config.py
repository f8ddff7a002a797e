"""Model configurations: the reference's format is accepted, anything else raises an error with its path."""

import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from golden_models import golden_model
from hypothesis import given
from hypothesis import strategies as st

from img2vid import paths
from img2vid.engine.config import (
    AutoencoderKLConfig,
    DiffusionConfig,
    OpenCLIPImageConfig,
    VideoDecoderConfig,
    load_config,
)
from img2vid.errors import ConfigError

Tree = dict[str, Any]
Read = Callable[[Tree], DiffusionConfig]
NETWORK = "model.params.network_config"
EMBEDDERS = "model.params.conditioner_config.params.emb_models"
FIRST_STAGE = "model.params.first_stage_config"
DECODER = f"{FIRST_STAGE}.params.decoder_config.params"


@pytest.fixture
def tree() -> Tree:
    return yaml.safe_load(golden_model("tiny_svd").config.read_text(encoding="utf-8"))


@pytest.fixture
def read(tmp_path: Path) -> Read:
    def read_tree(tree: Tree) -> DiffusionConfig:
        path = tmp_path / "mine.yaml"
        path.write_text(yaml.safe_dump(tree), encoding="utf-8")
        return load_config(path)

    return read_tree


def put(tree: Tree, place: str, value: object) -> None:
    """Set the value at a path such as `model.params.scale_factor`, or remove it if no value is given."""
    *way, last = place.split(".")
    node: Any = tree
    for part in way:
        node = node[int(part) if part.isdigit() else part]
    if value is None:
        del node[last]
    else:
        node[last] = value


@pytest.mark.parametrize("name", ["svd.yaml", "svd_image_decoder.yaml", "svd_tiny.yaml", "sv3d_u.yaml", "sv3d_p.yaml"])
def test_shipped_configurations_are_read(name: str) -> None:
    config = load_config(paths.CONFIGS / name)
    assert config.network_config.in_channels == 2 * config.network_config.out_channels
    assert config.first_stage.z_channels == config.network_config.out_channels


def test_the_references_own_format_is_accepted(tree: Tree, read: Read) -> None:
    """Keys that only the reference's svd.yaml has: a path, a sampler, xformers, checkpointing, CLIP's weights."""
    put(tree, "model.params.ckpt_path", "checkpoints/svd.safetensors")
    put(
        tree,
        "model.params.sampler_config",
        {"target": "sgm.modules.diffusionmodules.sampling.EulerEDMSampler", "params": {"num_steps": 30}},
    )
    put(tree, f"{NETWORK}.params.use_checkpoint", True)
    put(tree, f"{NETWORK}.params.spatial_transformer_attn_type", "softmax-xformers")
    put(tree, f"{EMBEDDERS}.3.params.encoder_config.params.ddconfig.attn_type", "vanilla-xformers")
    put(tree, f"{FIRST_STAGE}.params.encoder_config.params.attn_type", "vanilla-xformers")
    put(tree, f"{EMBEDDERS}.0.params.open_clip_embedding_config.params.version", "laion2b_s32b_b79k")
    config = read(tree)
    assert config.network_config.spatial_transformer_attn_type == "softmax-xformers"
    clip = config.conditioner_config.emb_models[0].embedder
    assert isinstance(getattr(clip, "open_clip_embedding_config", None), OpenCLIPImageConfig)


def test_both_kinds_of_first_stage_are_distinguished() -> None:
    video, picture = (load_config(golden_model(name).config) for name in ("tiny_svd", "tiny_svd_image_decoder"))
    assert isinstance(video.first_stage, VideoDecoderConfig)
    assert isinstance(picture.first_stage_config, AutoencoderKLConfig)
    assert (video.size_step, picture.size_step) == (16, 16)


@pytest.mark.parametrize(
    "text", ["${oc.env:HF_TOKEN}", "x${model.params.scale_factor}", "${a", "${${oc.env:HF_TOKEN}}", "\\${a}"]
)
def test_references_are_refused_and_not_resolved(
    text: str, tree: Tree, read: Read, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    for place in ("ckpt_path", "sampler_config"):
        put(tree, f"model.params.{place}", text if place == "ckpt_path" else [{text: 1}])
        with pytest.raises(ConfigError) as caught:
            read(tree)
        assert str(caught.value).endswith(
            "mine.yaml has references such as ${name}, which are not supported; write the values instead"
        )
        put(tree, f"model.params.{place}", None)


def test_a_reference_bomb_needs_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "bomb.yaml"
    rows = ["a0: " + 100 * "x", *(f"a{n}: " + 10 * f"${{a{n - 1}}}" for n in range(1, 12))]
    path.write_text("\n".join(rows), encoding="utf-8")
    tracemalloc.start()
    with pytest.raises(ConfigError, match="references"):
        load_config(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_a_deep_configuration_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.yaml"
    path.write_text("model: " + "{a: " * 900 + "1" + "}" * 900, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"deep\.yaml is not valid YAML: nested more than 64 levels deep"):
        load_config(path)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (f"{NETWORK}.params.num_res_blocks", 10**9),
        (f"{NETWORK}.params.transformer_depth", 10**9),
        (f"{NETWORK}.params.channel_mult", [1] * 1000),
        (f"{NETWORK}.params.model_channels", 32 * 10**12),
        (f"{EMBEDDERS}.0.params.open_clip_embedding_config.params.arch", "../../secret"),
        (f"{EMBEDDERS}.0.params.open_clip_embedding_config.params.arch", "hf-hub:owner/name"),
    ],
)
def test_sizes_and_names_without_sense_are_refused(place: str, value: object, tree: Tree, read: Read) -> None:
    put(tree, place, value)
    with pytest.raises(ConfigError, match=r"less than or equal to|at most 10 items|should match pattern"):
        read(tree)


def test_foreign_text_in_messages_is_short(tree: Tree, read: Read) -> None:
    put(tree, f"{NETWORK}.target", "x\x1b[2J" * 1000)
    with pytest.raises(ConfigError) as caught:
        read(tree)
    assert len(str(caught.value)) < 2500 and "\x1b" not in str(caught.value)


def test_unknown_targets_are_refused_before_anything_is_imported(
    tree: Tree, read: Read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "dangerous.py").write_text("raise SystemExit", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    put(tree, f"{NETWORK}.target", "dangerous.Network")
    with pytest.raises(ConfigError, match=r"unknown target 'dangerous\.Network'; choose one of sgm\."):
        read(tree)
    assert "dangerous" not in sys.modules


@pytest.mark.parametrize(
    ("place", "value", "error_place", "sentence"),
    [
        (f"{NETWORK}.target", "os.system", NETWORK, "unknown target 'os.system'"),
        (f"{NETWORK}.target", ["os.system"], NETWORK, "unknown target"),
        (f"{NETWORK}.target", {"a": 1}, NETWORK, "unknown target"),
        (f"{NETWORK}.target", None, NETWORK, "expected a mapping with target and params"),
        ("model", "svd", "model", "expected a mapping with target and params"),
        (f"{NETWORK}.params.color", "red", f"{NETWORK}.params.color", "Extra inputs are not permitted (given: red)"),
        (f"{NETWORK}.params.in_channels", "many", f"{NETWORK}.params.in_channels", "valid integer"),
        (f"{NETWORK}.params.in_channels", 0, f"{NETWORK}.params.in_channels", "greater than 0 (given: 0)"),
        (f"{NETWORK}.params.model_channels", 33, f"{NETWORK}.params.model_channels", "multiple of 32 (given: 33)"),
        (f"{NETWORK}.params.num_classes", None, f"{NETWORK}.params.num_classes", "Field required"),
        (f"{NETWORK}.params.merge_strategy", "none", f"{NETWORK}.params.merge_strategy", "Input should be 'learned_wi"),
        (f"{NETWORK}.params.video_kernel_size", [3, 3], f"{NETWORK}.params.video_kernel_size", "at least 3 items"),
        (f"{NETWORK}.params.num_head_channels", 24, f"{NETWORK}.params", "32 channels cannot be divided into heads of"),
        (
            f"{NETWORK}.params.num_head_channels",
            None,
            f"{NETWORK}.params",
            "num_heads or num_head_channels",
        ),
        (f"{NETWORK}.params.transformer_depth", [1], f"{NETWORK}.params", "one number for each entry of channel_mult"),
        (f"{NETWORK}.params.adm_in_channels", 512, "model.params", "produce 768 values, but the network expects 512"),
        ("model.params.scale_factor", None, "model.params.scale_factor", "Field required"),
        ("model.params.network_config", None, "model.params.network_config", "Field required"),
        ("model.params.conditioner_config", None, "model.params.conditioner_config", "Field required"),
        (f"{EMBEDDERS}.1.params.outdim", 255, f"{EMBEDDERS}.1", "multiple of 2"),
        (f"{EMBEDDERS}.1.input_key", "color", f"{EMBEDDERS}.1", "unsupported embedder for 'color'"),
        (f"{EMBEDDERS}.1.input_key", "cond_frames", f"{EMBEDDERS}.1", "unsupported embedder for 'cond_frames'"),
        (f"{EMBEDDERS}.1.target", "os.system", f"{EMBEDDERS}.1", "unknown target 'os.system'"),
        (EMBEDDERS, [], EMBEDDERS, "at least 1 item"),
        (
            f"{FIRST_STAGE}.params.decoder_config.params.ch",
            48,
            f"{FIRST_STAGE}.params.decoder_config.params.ch",
            "of 32",
        ),
        (f"{DECODER}.attn_resolutions", [16], FIRST_STAGE, "at most 0 items"),
    ],
)
def test_errors_contain_file_and_path(
    place: str, value: object, error_place: str, sentence: str, tree: Tree, read: Read
) -> None:
    put(tree, place, value)
    with pytest.raises(ConfigError) as caught:
        read(tree)
    message = str(caught.value)
    assert f"mine.yaml, at {error_place}" in message
    assert sentence in message
    assert "\n" not in message


@pytest.mark.parametrize(
    "place", ["denoiser_config", "network_config", "conditioner_config", "first_stage_config"], ids=str
)
def test_a_known_target_in_the_wrong_place_is_refused(place: str, tree: Tree, read: Read) -> None:
    put(tree, f"model.params.{place}", {"target": "torch.nn.Identity"})
    with pytest.raises(ConfigError, match=rf"mine\.yaml, at model\.params\.{place}.*Input should be"):
        read(tree)


@pytest.mark.parametrize(("index", "key"), [(0, "cond_frames_without_noise"), (3, "cond_frames")])
def test_both_views_of_the_picture_are_needed(index: int, key: str, tree: Tree, read: Read) -> None:
    del tree["model"]["params"]["conditioner_config"]["params"]["emb_models"][index]
    with pytest.raises(ConfigError, match=f"exactly one embedder of {key} is required, found 0"):
        read(tree)


@pytest.mark.parametrize(
    "text",
    [
        "model: [",
        "\x00",
        "[1, 2]",
        "5",
        "",
        "model:",
        "model: ${nowhere}",
        "a: ${b}\nb: ${a}",
        "{[1]: 2}",
        "model: !!int no",
        "model: !!timestamp no",
        "model: !!python/object/apply:os.system [exit]",
    ],
)
def test_damaged_files_give_one_sentence_that_names_them(text: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"mine\.yaml") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


@given(st.binary(max_size=60))
def test_any_bytes_give_a_configuration_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"any\.yaml"):
        load_config(path)


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no model configuration .*none\.yaml"):
        load_config(tmp_path / "none.yaml")
    with pytest.raises(ConfigError, match="cannot read "):
        load_config(tmp_path)
