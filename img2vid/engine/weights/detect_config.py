"""Which of several model configurations a checkpoint belongs to."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from img2vid.checkpoints.header import read_header
from img2vid.engine.config import load_config
from img2vid.engine.model import build_meta
from img2vid.engine.weights.checkpoint import check
from img2vid.errors import CheckpointError


def fitting_config(checkpoint: Path, configs: Sequence[Path]) -> Path:
    """The first configuration whose model finds all that it needs in the file; reads only the header.

    Raises CheckpointError that says what is wrong with the file, or why the configuration that comes nearest will not
    do; ConfigError for a configuration that cannot be read.
    """
    entries = read_header(checkpoint)
    nearest: tuple[int, Mapping[str, Tensor]] | None = None
    for config in configs:
        model = build_meta(load_config(config), config.parent)
        model.drop_unused()
        expected = model.weights()
        wrong = sum(name not in entries or entries[name].shape != tensor.shape for name, tensor in expected.items())
        if wrong == 0:
            check(checkpoint, entries, expected)
            return config
        if nearest is None or wrong < nearest[0]:
            nearest = wrong, expected
    if nearest is not None:
        check(checkpoint, entries, nearest[1])
    raise CheckpointError(f"{checkpoint} fits no configuration, for none was named")
