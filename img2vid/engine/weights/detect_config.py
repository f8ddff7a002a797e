"""Detection of the model configuration that matches a checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from img2vid.engine.config import load_config
from img2vid.engine.model import build_meta
from img2vid.engine.weights.stored import check, read_headers
from img2vid.errors import CheckpointError


def fitting_config(checkpoint: Path, configs: Sequence[Path], unet: Path | None = None) -> Path:
    """Return the first configuration whose weights are all in the checkpoint; reads only headers.

    unet: diffusers file of the UNet to use instead. Raise CheckpointError if the checkpoint is invalid or no
    configuration matches, with the mismatch of the closest one.
    Raise ConfigError for a configuration that cannot be read.
    """
    headers = read_headers(checkpoint, unet)
    closest: tuple[int, Mapping[str, Tensor]] | None = None
    for config in configs:
        model = build_meta(load_config(config), config.parent)
        model.drop_unused()
        expected = model.weights()
        found = headers.locate(expected)
        wrong = sum(name not in found or found[name].shape != tensor.shape for name, tensor in expected.items())
        if wrong == 0:
            check(headers, found, expected)
            return config
        if closest is None or wrong < closest[0]:
            closest = wrong, expected
    if closest is not None:
        check(headers, headers.locate(closest[1]), closest[1])
    raise CheckpointError(f"{checkpoint} fits no configuration: none was given")
