"""Middle-size model: svd except for its widths."""

from pathlib import Path

from img2vid import paths
from img2vid.engine.bench.middle_size import middle_tree, write_middle
from img2vid.engine.config import AutoencodingEngineConfig, load_config
from img2vid.engine.config_tree import load_tree

SVD = paths.CONFIGS / "svd.yaml"


def test_it_has_a_fifth_and_a_quarter_of_the_channels(tmp_path: Path) -> None:
    svd, middle = load_config(SVD), load_config(write_middle(SVD, tmp_path))
    assert middle.network_config.model_channels * 5 == svd.network_config.model_channels
    for config, ch in ((svd, 128), (middle, 32)):
        stage = config.first_stage_config
        assert isinstance(stage, AutoencodingEngineConfig)
        frames = next(e.embedder for e in config.conditioner_config.emb_models if e.input_key == "cond_frames")
        assert stage.encoder_config.ch == stage.decoder_config.ch == frames.encoder_config.ddconfig.ch == ch  # type: ignore[union-attr]


def test_everything_else_matches_svd() -> None:
    def leaves(node: object, place: str = "") -> dict[str, object]:
        rows = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
        if rows is None:
            return {place: node}
        return {k: v for key, value in rows for k, v in leaves(value, f"{place}.{key}").items()}

    tree = load_tree(SVD)
    before, after = leaves(tree), leaves(middle_tree(tree))
    assert leaves(load_tree(SVD)) == before, "the source configuration was modified"
    assert set(before) == set(after)
    changed = {place.rsplit(".", 1)[1] for place in before if before[place] != after[place]}
    assert changed == {"model_channels", "context_dim", "ch", "arch"}


def test_writing_it_again_changes_nothing(tmp_path: Path) -> None:
    texts = [write_middle(SVD, tmp_path).read_bytes() for _ in range(2)]
    assert texts[0] == texts[1]
    assert sorted(path.name for path in tmp_path.rglob("*.*")) == ["middle.yaml", "svd_tiny_clip.json"]
