"""Detection of the model configuration that matches a checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from img2vid.checkpoints.header import read_header
from img2vid.engine.config import load_config
from img2vid.engine.model import build_meta
from img2vid.engine.weights.checkpoint import check
from img2vid.errors import CheckpointError


def fitting_config(checkpoint: Path, configs: Sequence[Path]) -> Path:
    """Return the first configuration whose weights are all in the file; reads only the header.

    Raise CheckpointError if the file is invalid or no configuration matches, with the mismatch of the closest one.
    Raise ConfigError for a configuration that cannot be read.
    """
    entries = read_header(checkpoint)
    closest: tuple[int, Mapping[str, Tensor]] | None = None
    for config in configs:
        model = build_meta(load_config(config), config.parent)
        model.drop_unused()
        expected = model.weights()
        wrong = sum(name not in entries or entries[name].shape != tensor.shape for name, tensor in expected.items())
        if wrong == 0:
            check(checkpoint, entries, expected)
            return config
        if closest is None or wrong < closest[0]:
            closest = wrong, expected
    if closest is not None:
        check(checkpoint, entries, closest[1])
    raise CheckpointError(f"{checkpoint} fits no configuration: none was given")
