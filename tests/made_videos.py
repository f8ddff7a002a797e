"""Small real videos with the files that a worker writes."""

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from img2vid.jobs.job import Job
from img2vid.media.exports import write_still
from img2vid.media.videos import write_json, write_video
from img2vid.progress import Result
from img2vid.text_to_image.pipeline import origin_of


def frames_of(seed: int, count: int = 5) -> NDArray[np.uint8]:
    """Return frames (T, 32, 48, 3) with a different color for each frame and seed."""
    frames = np.zeros((count, 32, 48, 3), np.uint8)
    for index, frame in enumerate(frames):
        frame[:] = (40 * index, 20 * (seed % 12), 120)
    return frames


def write_result(job: Job, seed: int) -> Result:
    settings = job.settings.model_copy(update={"seed": seed, "num_samples": 1})
    metadata: dict[str, Any] = {
        "program": "img2vid test",
        "picture": job.picture_name,
        "settings": settings.model_dump(),
        "provider": "native",
        "device": "cpu",
        "precision": "fp32",
    }
    if (origin := origin_of(job.picture.read_bytes())) is not None:
        metadata["image"] = dict(origin)
    frames = frames_of(seed)
    path = job.folder / f"{job.picture_name}_{settings.version}_seed{seed}.mp4"
    video = write_video(path, frames, fps=settings.file_fps, metadata=metadata)
    still, sidecar = video.with_suffix(".png"), video.with_suffix(".json")
    write_still(still, frames[0])
    write_json(sidecar, metadata)
    return Result(video, still, sidecar, None, seed, 12.0, json.loads(json.dumps(metadata)))
