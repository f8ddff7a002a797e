"""Version rows proposed for the user's own checkpoint files."""

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
"""Function (checkpoint, configurations) -> matching configuration, see `engine.weights.detect_config.fitting_config`.

Passed in because it imports torch. Raises CheckpointError if no configuration matches.
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
    """Return the version row for a `.safetensors` file in Stability's layout, from its header, checksum and known rows.

    num_frames: frames the model was trained on, which the file does not record; default 25 if its name contains "xt",
    else 14. config: the user's own configuration, instead of those of the known versions. Raise BadInput for a name in
    use, CheckpointError for a file that is not a checkpoint or matches no configuration.
    """
    path = path.expanduser().absolute()
    if path.suffix != ".safetensors":
        raise CheckpointError(f"{path} is not a .safetensors file; convert it to that format first")
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
    """Return the known version of the same configuration with the closest number of frames."""
    same = [version for version in versions if version.config == config]
    if not same:
        raise BadInput(
            f"no known version uses the configuration {config}, so its defaults are unknown; "
            "write the row by hand, see docs/own-checkpoint.md"
        )
    return min(same, key=lambda version: abs(version.num_frames - num_frames))


def _named(path: Path) -> str:
    """Return the path for the row: only the file name if the file is in a checkpoint folder."""
    for folder in paths.checkpoint_folders():
        if path.parent == folder.absolute() and paths.find_checkpoint(path.name) == folder / path.name:
            return path.name
    return str(path)
