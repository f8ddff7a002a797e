"""Version rows proposed for the user's own checkpoint files."""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from img2vid import paths
from img2vid.checkpoints.header import foreign_kind, read_header
from img2vid.checkpoints.progress import OnProgress, ignore
from img2vid.checkpoints.rows import require_free
from img2vid.checkpoints.verify import checksum
from img2vid.errors import BadInput, CheckpointError
from img2vid.versions import FileFacts, ModelVersion, load_versions

Fits = Callable[[Path, Sequence[Path], "Path | None"], Path]
"""Function (checkpoint, configurations, UNet) -> configuration, see `engine.weights.detect_config.fitting_config`.

Passed in because it imports torch. Raises CheckpointError if no configuration matches.
"""


def propose(
    path: Path,
    fits: Fits,
    *,
    name: str | None = None,
    num_frames: int | None = None,
    config: str | None = None,
    base: ModelVersion | None = None,
    on_progress: OnProgress = ignore,
) -> ModelVersion:
    """Return the version row for a checkpoint, from its headers, checksums and known rows.

    path: a `.safetensors` file or a folder in diffusers' layout. base: version whose UNet the file replaces.
    num_frames: frames the model was trained on, which no file records; default that of `base`, else 21 for SV3D, 25
    if the name contains "xt", else 14. config: the user's own configuration, instead of those of the known versions.
    Raise BadInput for a name in use, CheckpointError for a file that is not a checkpoint or matches no configuration.
    """
    path = path.expanduser().absolute()
    if path.suffix != ".safetensors" and not path.is_dir():
        raise CheckpointError(f"{path} is not a .safetensors file; convert it to that format first")
    name = name or re.sub(r"[^\w.-]+", "_", path.name.removesuffix(".safetensors")).lstrip(".-")
    require_free(name)
    if num_frames is not None and not 1 <= num_frames <= 128:
        raise BadInput(f"num_frames must be a whole number from 1 to 128, got {num_frames}")
    versions = load_versions()
    configs = [config] if config else list(dict.fromkeys(version.config for version in versions.values()))
    places = [paths.CONFIGS / Path(file).expanduser() for file in configs]
    if base is None:
        _require_whole(path)
        fitting = fits(path, places, None)
    else:
        fitting = fits(base.require_checkpoint(), [paths.CONFIGS / Path(config or base.config).expanduser()], path)
    chosen = next(file for file in configs if paths.CONFIGS / Path(file).expanduser() == fitting)
    found = _facts(path, on_progress)
    digests = {facts.sha256 for facts in found.values()}
    known = next((one for one in versions.values() if _digests(one) & digests), None)
    guess = 25 if "xt" in path.stem.lower() else 14
    wanted = num_frames or (known.num_frames if known else guess if base is None else base.num_frames)
    like = known or base or _likest(chosen, wanted, versions.values())
    if like.orbit and num_frames is None:
        wanted = like.num_frames
    proposed = like.model_dump() | {
        "name": name,
        "num_frames": wanted,
        "config": chosen,
        "checkpoint": _named(path) if base is None else base.checkpoint,
        "unet": None if base is None else _named(path),
        **(next(iter(found.values())).model_dump() if path.is_file() else {"bytes": None, "sha256": None}),
        "diffusers": {file: facts.model_dump() for file, facts in found.items()} if path.is_dir() else {},
    }
    if known is None:
        proposed |= {"licence": "not stated", "source": f"added from {path}", "note": ""}
    return ModelVersion.model_validate(proposed)


def _require_whole(path: Path) -> None:
    """Raise CheckpointError for a file with the UNet alone."""
    if path.is_file() and foreign_kind(read_header(path), "unet") is None:
        raise CheckpointError(
            f"{path} is the UNet alone in diffusers' layout; name the version whose UNet it replaces with --base"
        )


def _facts(path: Path, on_progress: OnProgress) -> dict[str, FileFacts]:
    """Return size and checksum of the files with weights, by their paths in the folder."""
    found: dict[str, FileFacts] = {}
    for file in paths.weight_files(path):
        size, sha256 = checksum(file, on_progress)
        found[file.relative_to(path).as_posix()] = FileFacts(bytes=size, sha256=sha256)
    return found


def _digests(version: ModelVersion) -> set[str | None]:
    """Return the checksums that identify a version; several versions share the other components."""
    networks = (facts for file, facts in version.diffusers.items() if file.startswith("unet/"))
    return {version.sha256, *(facts.sha256 for facts in networks)} - {None}


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
