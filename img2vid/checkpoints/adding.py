"""Proposes the version row of a checkpoint file that img2vid does not know yet."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from img2vid import paths
from img2vid.checkpoints.progress import OnProgress, ignore
from img2vid.checkpoints.rows import require_free
from img2vid.checkpoints.verify import checksum
from img2vid.errors import BadInput, CheckpointError
from img2vid.versions import ModelVersion, load_versions

Fits = Callable[[Path, Sequence[Path]], Path]
"""(checkpoint, configurations) -> the matching configuration: `engine.weights.detect_config.fitting_config`.

It is handed in because it knows torch. Raises CheckpointError where none fits.
"""


def propose(
    path: Path,
    fits: Fits,
    *,
    name: str | None = None,
    num_frames: int | None = None,
    config: str | None = None,
    on_progress: OnProgress = ignore,
) -> ModelVersion:
    """The row for a `.safetensors` file in Stability's form, from its header, its checksum and the rows that there are.

    A file does not say how many frames it was trained for: num_frames, or else 25 where its name holds "xt", else 14.
    config: a configuration of the user's own, in place of those of the known versions. Raises BadInput for a name in
    use, CheckpointError for a file that is no checkpoint or fits no configuration.
    """
    path = path.expanduser().absolute()
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path} is not a .safetensors file; save the checkpoint in that form first")
    name = name or re.sub(r"[^\w.-]+", "_", path.stem).lstrip(".-")
    require_free(name)
    if num_frames is not None and not 1 <= num_frames <= 128:
        raise BadInput(f"num_frames must be a whole number from 1 to 128, got {num_frames}")
    versions = load_versions()
    configs = [config] if config else list(dict.fromkeys(version.config for version in versions.values()))
    fitting = fits(path, [paths.CONFIGS / Path(file).expanduser() for file in configs])
    chosen = next(file for file in configs if paths.CONFIGS / Path(file).expanduser() == fitting)
    size, sha256 = checksum(path, on_progress)
    known = next((version for version in versions.values() if version.sha256 == sha256), None)
    wanted = num_frames or (known.num_frames if known else 25 if "xt" in path.stem.lower() else 14)
    like = known or _likest(chosen, wanted, versions.values())
    proposed = like.model_dump() | {
        "name": name,
        "num_frames": wanted,
        "config": chosen,
        "checkpoint": _named(path),
        "bytes": size,
        "sha256": sha256,
    }
    if known is None:
        proposed |= {"licence": "not stated", "source": f"added from {path}", "note": ""}
    return ModelVersion.model_validate(proposed)


def _likest(config: str, num_frames: int, versions: Iterable[ModelVersion]) -> ModelVersion:
    """A known version of the same configuration, whose sizes and defaults will suit."""
    same = [version for version in versions if version.config == config]
    if not same:
        raise BadInput(
            f"no version has the configuration {config}, so its sizes are not known; write the row by hand, as "
            "docs/own-checkpoint.md shows"
        )
    return min(same, key=lambda version: abs(version.num_frames - num_frames))


def _named(path: Path) -> str:
    """How a row names the file: by its name alone where it lies in a checkpoint folder."""
    for folder in paths.checkpoint_folders():
        if path.parent == folder.absolute() and paths.find_checkpoint(path.name) == folder / path.name:
            return path.name
    return str(path)
