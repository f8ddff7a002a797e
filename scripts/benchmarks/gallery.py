"""Speed of the gallery with many videos: the database search, and rendering the whole page on the server.

Fills a new home in a temporary folder: a row for each video, and real files with stills of 1024 x 576 for those
that are shown. Times are medians in milliseconds.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from streamlit.testing.v1 import AppTest

from benchmarks.results import Row, timed
from img2vid.gallery.entries import Entries, Filter
from img2vid.jobs.store import Store
from img2vid.media.exports import write_still
from img2vid.media.videos import write_video
from img2vid.options import LoadOptions
from img2vid.progress import Result
from img2vid.settings_validation import make_settings
from img2vid.ui import resources
from img2vid.ui.gallery import state
from img2vid.ui.shared import pictures

VIEWS: dict[str, Any] = {"first page": {}, "rated 4 or more": {"least_rating": 4}, "the word dogs": {"text": "dogs"}}
VIEWS["last page"] = {}
COLUMNS = {"view": "", "found": "", "search": ".0f", "page_new_stills": ".0f", "page_again": ".0f"}
WORDS, FILES = ("dogs", "brook", "mountains", "dandelion"), 48


def filled(home: Path, videos: int) -> None:
    """Add rows, created a minute apart, that share the files."""
    rng = np.random.default_rng(0)
    made: list[Result] = []
    for index in range(FILES):
        frame = rng.integers(0, 60, (576, 1024, 3), dtype=np.uint8) + rng.integers(0, 190, 3, dtype=np.uint8)
        video = write_video(home / "svd" / f"video{index}.mp4", [frame], fps=6, metadata={"settings": {}})
        write_still(video.with_suffix(".png"), frame)
        made.append(Result(video, video.with_suffix(".png"), video.with_suffix(".json"), None, 0, 60.0, {}))
    entries, now = Entries(Store()), time.time()
    for number in range(videos):
        settings = make_settings({"version": "svd" if number % 3 else "svd_xt", "seed": number})
        what = (made[number % FILES], settings, LoadOptions(), b"picture", WORDS[number % len(WORDS)], ".png")
        entry = entries.add_imported(*what, created=now - 60 * (videos - number))
        if number % 10 == 0:
            entries.rate(entry.number, 1 + number // 10 % 5)


def median(work: Callable[[], object], times: int) -> float:
    """Return the median duration in milliseconds, after one call to warm up."""
    work()
    return statistics.median(1000 * timed(work)[1] for _ in range(times))


def page() -> None:
    from img2vid.ui.gallery.page import gallery

    gallery()


def measure_view(name: str, times: int) -> Row:
    """Return the row of one gallery view."""
    entries, wanted = Entries(Store()), Filter(**VIEWS[name])
    found = entries.count(wanted)
    last = state.pages_of(found) if name == "last page" else 1
    looking = partial(entries.find, wanted, state.PER_PAGE, (last - 1) * state.PER_PAGE)
    app = AppTest.from_function(page, default_timeout=120).run()
    state.change(app.session_state["page"], page=last, **VIEWS[name])
    first: list[float] = []
    for _ in range(times):
        pictures.thumbnail.cache_clear()
        first.append(1000 * timed(app.run)[1])
        assert not app.exception and any(str(button.key).startswith("open_") for button in app.button)
    return {
        "view": name,
        "found": found,
        "search": median(looking, times) + median(partial(entries.count, wanted), times),
        "page_new_stills": statistics.median(first),
        "page_again": median(app.run, times),
    }


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--videos", type=int, default=10_000)
    parser.add_argument("--times", type=int, default=15, help="repetitions")


def measure(given: argparse.Namespace) -> Iterator[Row]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["IMG2VID_HOME"] = folder
        resources.start = lambda: None  # no workers during the measurement
        filled(Path(folder), given.videos)
        yield from (measure_view(name, given.times) for name in VIEWS)
