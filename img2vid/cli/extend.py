"""The `img2vid extend` command: continue a video from its last frame, and join the parts."""

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from img2vid import paths
from img2vid.cli.options import path_given
from img2vid.cli.output import print_line, say
from img2vid.cli.studies import StudyBar
from img2vid.errors import BadInput

if TYPE_CHECKING:
    from img2vid.gallery.entries import Entry
    from img2vid.jobs.job import Job
    from img2vid.jobs.store import Store

ABOUT = "Continue a video from its last frame with the same settings and the next seed, and join the parts."


def add_extend(commands: Any) -> None:
    """Add the subcommand to argparse's subparsers."""
    parser = commands.add_parser("extend", help="continue a video", description=ABOUT, allow_abbrev=False)
    parser.set_defaults(command=extend)
    parser.add_argument("video", type=path_given, metavar="VIDEO", help="MP4 file made by img2vid")
    parser.add_argument("--links", type=int, default=1, metavar="N", help="number of videos to add (default: 1)")
    parser.add_argument(
        "--motion", metavar="N,N", help="motion bucket of each link, such as 127,60 (default: that of the video)"
    )
    parser.add_argument(
        "--match-colors", action="store_true", help="give all frames of the joined clip the colors of its first"
    )
    parser.add_argument("--out", type=path_given, metavar="DIR", help="output folder (default: that of the video)")
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of the path")


def extend(arguments: argparse.Namespace) -> int:
    """Queue the links, wait for them, and write the joined clip of those that were made."""
    from img2vid.gallery import chain
    from img2vid.gallery.entries import Entries
    from img2vid.jobs import wait
    from img2vid.jobs.job import State

    bar = StudyBar()
    with bar, wait.reserve_service() as service:
        entries = Entries(service.store)
        entry = _entry_of(service.store, arguments.video)
        folder = arguments.out or (paths.home() if entry.imported else entry.result.video.parent)
        parts = chain.parts_of(entries, entry)
        jobs = chain.extend(service, parts, arguments.links, _motion(arguments.motion), folder.absolute())
        with wait.cancelling(service, jobs):
            jobs = wait.wait_for_jobs(service, jobs, lambda now: bar.update("extend", service, now))
        made = [found for job in jobs for found in entries.find_by_job(job.id)]
        failed = next((job for job in jobs if job.state is not State.DONE), None)
        if failed is not None and not made:
            raise wait.error_of(failed)
        parts += made
        joined = chain.join(folder / f"{parts[0].result.video.stem}_extended.mp4", parts, match=arguments.match_colors)
    _print_result(joined, parts, arguments.json)
    return 0 if failed is None else _report(failed, len(made) + 1)


def _motion(text: str | None) -> list[int]:
    try:
        return [int(part) for part in text.split(",")] if text else []
    except ValueError as error:
        raise BadInput(
            f"--motion needs whole numbers with commas between them, such as 127,60; got {text!r}"
        ) from error


def _entry_of(store: "Store", video: Path) -> "Entry":
    """Return the entry of a file, which is added to the gallery if it is not there. Raise BadInput if it is deleted."""
    from img2vid.gallery.entries import Entries
    from img2vid.gallery.importing import import_video

    path = video.resolve()
    known = Entries(store).naming(path)
    return known[0] if known else import_video(store, path)


def _report(failed: "Job", link: int) -> int:
    """Print why a link was not made, and return the exit code."""
    from img2vid.jobs import wait

    error = wait.error_of(failed)
    say(f"link {link}, seed {failed.settings.seed}: {error}")
    return 2 if isinstance(error, BadInput) else 1


def _print_result(joined: Path, parts: list["Entry"], as_json: bool) -> None:
    from img2vid.media.videos import read_metadata

    if not as_json:
        print_line(str(joined))
        return
    rows = read_metadata(joined)["parts"]
    made = [
        {"video": str(part.result.video), "seed": part.result.seed, "drift": row["drift"]}
        for part, row in zip(parts, rows, strict=True)
    ]
    print_line(json.dumps({"video": str(joined), "parts": made}))
