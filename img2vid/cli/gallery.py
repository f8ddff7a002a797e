"""The `img2vid gallery` commands: list, import, export, trash and restore videos, also while a dashboard runs."""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from img2vid.cli.options import path_given
from img2vid.cli.output import NAMED, Bar, Batch, print_line, say
from img2vid.errors import BadInput

if TYPE_CHECKING:
    from img2vid.background import Count
    from img2vid.gallery.entries import Entry, Filter
    from img2vid.gallery.trash import Trash
    from img2vid.jobs.store import Store

# The gallery and its database are imported by the commands, so that `img2vid --help` stays fast.


def add_gallery(commands: Any) -> None:
    """Add the commands to argparse's subparsers."""
    parser = commands.add_parser("gallery", help="list, import, export, trash and restore videos", allow_abbrev=False)
    added = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, text: str, run: Callable[[argparse.Namespace], int], row: str) -> argparse.ArgumentParser:
        new = added.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
        new.set_defaults(command=run)
        new.add_argument("--json", action="store_true", help=f"print one JSON object {row}")
        return new

    listing = command("list", "list videos, newest first", list_videos, "per video")
    listing.add_argument("--deleted", action="store_true", help="list the videos in the trash")
    listing.add_argument("--limit", type=_whole_number, metavar="N", help="number of videos (default: all)")
    _add_filter(listing)
    importing = command("import", "add videos made elsewhere", import_paths, "per file")
    importing.add_argument(
        "paths", nargs="+", type=path_given, metavar="PATH", help="MP4 file, or folder with its subfolders"
    )
    exporting = command("export", "write videos and their settings to a zip file", export_videos, "with the zip file")
    _add_numbers(exporting, "*", " (default: all that match the options)")
    _add_filter(exporting)
    _add_numbers(command("trash", "move videos to the trash", trash_videos, "per video"), "+")
    _add_numbers(command("restore", "restore videos from the trash", restore_videos, "per video"), "+")


def _add_numbers(parser: argparse.ArgumentParser, count: str, default: str = "") -> None:
    text = f"number that `img2vid gallery list` shows{default}"
    parser.add_argument("numbers", nargs=count, type=_whole_number, metavar="NUMBER", help=text)


def _add_filter(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--text", default="", help="words in the picture's name, the version, the note or the tags")
    parser.add_argument("--tag", action="append", default=[], help="tag; repeat it to require several")
    parser.add_argument("--version", action="append", default=[], metavar="NAME", help="model version; repeatable")
    parser.add_argument("--rating", type=_whole_number, default=0, metavar="N", help="minimum rating, 1 to 5")
    parser.add_argument("--since", type=_day, metavar="DATE", help="first day, such as 2026-01-31")
    parser.add_argument("--until", type=_day, metavar="DATE", help="last day")


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 19):  # SQLite's numbers have 63 bits
        raise argparse.ArgumentTypeError(f"a whole number is needed, got {text!r}")
    return int(text)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"a date such as 2026-01-31 is needed, got {text!r}") from error


def list_videos(arguments: argparse.Namespace) -> int:
    """Print the matching videos. Rows that cannot be read are reported."""
    from img2vid.gallery.entries import Entries
    from img2vid.jobs.store import Store

    store = Store()
    wanted = replace(_filter(arguments), deleted=arguments.deleted)
    for entry in Entries(store).find(wanted, limit=-1 if arguments.limit is None else arguments.limit):
        _print_entry(entry, arguments.json)
    return _report_unreadable(store)


def import_paths(arguments: argparse.Namespace) -> int:
    """Import files and folders. Files that cannot be imported are reported."""
    from img2vid.gallery.importing import folder_of, import_videos, videos_in
    from img2vid.jobs.store import Store

    videos: list[Path] = []
    refused: list[tuple[Path, BadInput]] = []
    for path in arguments.paths:
        try:
            videos += [path.resolve()] if path.is_file() else videos_in(folder_of(str(path)))
        except (BadInput, OSError, ValueError) as error:
            refused.append((path, error if isinstance(error, BadInput) else BadInput(f"'{path}' cannot be read")))
    batch = Batch("files", len(videos) + len(refused))
    for path, error in refused:
        batch.fail(path, error)
    with Bar() as bar:
        for number, outcome in enumerate(import_videos(Store(), videos), start=1):
            bar.show(f"importing {number} of {len(videos)}", number, len(videos))
            if outcome.error is not None:
                if arguments.json:
                    row = {"state": "left out", "video": str(outcome.video), "error": str(outcome.error)}
                    print_line(json.dumps(row))
                batch.fail(outcome.video, outcome.error)
            elif entry := outcome.new or outcome.known:
                _print_entry(entry, arguments.json, state="imported" if outcome.new else "known")
    return batch.finish()


def export_videos(arguments: argparse.Namespace) -> int:
    """Write the zip file and print its path."""
    from img2vid.gallery.entries import Entries
    from img2vid.gallery.exporting import export
    from img2vid.jobs.store import Store

    store = Store()
    entries = Entries(store)
    numbers = dict.fromkeys(arguments.numbers)
    batch = Batch("videos", len(numbers))
    chosen: list[Entry] = [] if numbers else entries.find(_filter(arguments), limit=-1)
    for number in numbers:
        with batch.item(number):
            entry = entries.entry(number)
            if entry.deleted is not None:
                raise BadInput(f"video {number} is in the trash; restore it first")
            chosen.append(entry)
    if not chosen:
        raise BadInput("no video matches; see `img2vid gallery list`")
    with Bar() as bar:

        def show(count: "Count") -> None:
            bar.show("writing the zip file", *count)

        done = export(chosen, store.home, show)
    for line in (*done.details, done.text):
        say(line)
    print_line(json.dumps({"zip": str(done.file), "videos": len(chosen)}) if arguments.json else str(done.file))
    return batch.finish() or _report_unreadable(store) or int(bool(done.details))


def trash_videos(arguments: argparse.Namespace) -> int:
    """Move videos to the trash, each independently of the others."""
    from img2vid.gallery.trash import Trash

    return _move(arguments, Trash.put, to_trash=True)


def restore_videos(arguments: argparse.Namespace) -> int:
    """Restore videos from the trash, each independently of the others."""
    from img2vid.gallery.trash import Trash

    return _move(arguments, Trash.restore, to_trash=False)


def _move(arguments: argparse.Namespace, move: Callable[["Trash", Sequence[int]], object], *, to_trash: bool) -> int:
    from img2vid.gallery.entries import Entries
    from img2vid.gallery.trash import Trash
    from img2vid.jobs.store import Store

    store = Store()
    entries, trash = Entries(store), Trash(store)
    numbers = dict.fromkeys(arguments.numbers)
    batch = Batch("videos", len(numbers))
    for number in numbers:
        with batch.item(number):
            if (entries.entry(number).deleted is not None) == to_trash:
                raise BadInput(f"video {number} is {'already' if to_trash else 'not'} in the trash")
            move(trash, [number])
            _print_entry(entries.entry(number), arguments.json, state="trashed" if to_trash else "restored")
    return batch.finish()


def _filter(arguments: argparse.Namespace) -> "Filter":
    from img2vid.gallery.entries import Filter

    return Filter(
        versions=tuple(arguments.version),
        since=arguments.since,
        until=arguments.until,
        least_rating=arguments.rating,
        text=arguments.text,
        tags=tuple(arguments.tag),
    )


def _report_unreadable(store: "Store") -> int:
    """Print the rows that could not be read and return the exit code."""
    lines = list(store.unreadable.values())
    if not lines:
        return 0
    for line in lines[:NAMED]:
        say(line)
    more = f"and {len(lines) - NAMED} more; " if len(lines) > NAMED else ""
    say(f"{more}rebuild the job database with `img2vid recover`")
    return 1


def _print_entry(entry: "Entry", as_json: bool, state: str = "") -> None:
    result = entry.result
    created = datetime.fromtimestamp(entry.created).astimezone()
    if as_json:
        row = {
            **({"state": state} if state else {}),
            "number": entry.number,
            "video": str(result.video),
            "still": str(result.still),
            "settings_file": str(result.sidecar),
            **({"animation": str(result.animation)} if result.animation else {}),
            "picture": entry.job.picture_name,
            "created": created.isoformat(timespec="seconds"),
            "rating": entry.rating,
            "tags": entry.tags,
            "note": entry.note,
            "imported": entry.imported,
            "deleted": entry.deleted is not None,
            "settings": entry.settings.model_dump(),
        }
        print_line(json.dumps(row))
        return
    stars = f"{entry.rating} stars" if entry.rating else ""
    facts = (f"{created:%Y-%m-%d %H:%M}", entry.settings.version, entry.job.picture_name, stars, *entry.tags)
    print_line("  ".join([f"{entry.number:5}", *filter(None, (state, *facts)), str(result.video)]))
