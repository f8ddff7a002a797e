"""Gallery entries with small real files."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from img2vid.gallery.entries import Entries, Entry
from img2vid.jobs.store import Store
from img2vid.media.exports import write_still
from img2vid.media.videos import write_json, write_video
from img2vid.options import LoadOptions
from img2vid.progress import Result
from img2vid.settings_validation import make_settings

PICTURE = b"a picture"


def write_files(folder: Path, stem: str, seed: int = 23, **values: Any) -> Result:
    """Write a video of three frames with its companion files, as a worker does."""
    settings = make_settings({"seed": seed, "num_frames": 3, "width": 64, "height": 64, **values})
    metadata = {
        "program": "img2vid test",
        "picture": "dogs",
        "picture_sha256": hashlib.sha256(PICTURE).hexdigest(),
        "settings": settings.model_dump(),
        "provider": "native",
        "device": "cpu",
        "precision": "fp32",
    }
    frames = np.full((3, 64, 64, 3), (seed * 40) % 256, np.uint8)
    video = write_video(folder / f"{stem}.mp4", frames, fps=6, metadata=metadata)
    still, sidecar = video.with_suffix(".png"), video.with_suffix(".json")
    write_still(still, frames[0])
    write_json(sidecar, metadata)
    return Result(video, still, sidecar, None, seed, 1.5, json.loads(json.dumps(metadata)))


def add_entry(store: Store, folder: Path, stem: str = "dogs", seed: int = 23, **more: Any) -> Entry:
    """Add an entry with its files; `more` goes to `Entries.add_imported`."""
    result = write_files(folder, stem, seed)
    settings = make_settings(result.metadata["settings"])
    return Entries(store).add_imported(result, settings, LoadOptions(), PICTURE, "dogs", ".png", **more)
