"""The `img2vid models` commands: list, download, verify, add, remove and convert checkpoints."""

import argparse
import json
import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from getpass import getpass
from pathlib import Path

from rich.console import Console
from rich.progress import DownloadColumn, TextColumn
from rich.table import Table

from img2vid.checkpoints import adding, copies, removing, rows
from img2vid.checkpoints.download import download, download_folder
from img2vid.checkpoints.header import precision_of, read_header
from img2vid.checkpoints.progress import Meter, OnProgress, Progress
from img2vid.checkpoints.sources import find_source
from img2vid.checkpoints.verify import verify
from img2vid.cli.options import path_given
from img2vid.cli.output import Bar, Batch, print_line, say
from img2vid.errors import BadInput
from img2vid.text_to_image.versions import find_any, load_all_versions
from img2vid.versions import CheckpointRow, ModelVersion, find_version

STAGES = {
    "check": "reading {}",
    "download": "downloading {}",
    "wait": "waiting for {}",
    "convert": "converting {}",
}
Answer = Callable[[argparse.Namespace], int]


def add_commands(parser: argparse.ArgumentParser) -> None:
    """Add the commands to the parser of `img2vid models`."""
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def command(name: str, text: str, answer: Answer) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.", allow_abbrev=False)
        added.set_defaults(command=_interruptible(answer))
        return added

    listing = command("list", "list the models and whether their checkpoints are installed", list_models)
    listing.add_argument("--json", action="store_true", help="print one JSON object per version")
    _add_download(command("download", "download checkpoints; interrupted downloads resume", download_models))
    checking = command("verify", "check the size, header and SHA-256 of checkpoints", verify_models)
    checking.add_argument("versions", nargs="*", metavar="VERSION", help="version name (default: all installed)")
    _add_add(command("add", "register your own checkpoint as a model version", add_model))
    removal = command("remove", "delete a checkpoint", remove_model)
    removal.add_argument("version", metavar="VERSION", help="version name, see `img2vid models list`")
    removal.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    removal.add_argument("--shipped", action="store_true", help="also allow checkpoints that come with img2vid")
    conversion = command("convert", "save a smaller copy of a checkpoint, in half precision or float8", convert_model)
    conversion.add_argument("version", metavar="VERSION", help="version name, see `img2vid models list`")
    conversion.add_argument(
        "--precision",
        choices=("fp16", "bf16", "fp8_e4m3fn"),
        default="fp16",
        help="number format; fp8_e4m3fn is that of the network's matrices, fp16 of the rest (default: fp16)",
    )
    conversion.add_argument("--name", help="name of the new version (default: VERSION_PRECISION)")


def _interruptible(answer: Answer) -> Answer:
    """Wrap a command to explain on Ctrl-C that downloads can resume."""

    def run(arguments: argparse.Namespace) -> int:
        try:
            return answer(arguments)
        except KeyboardInterrupt:
            say("stopped; a download resumes from here when you start it again")
            return 130

    return run


def _add_download(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("versions", nargs="+", metavar="VERSION", help="version name, see `img2vid models list`")
    parser.add_argument(
        "--from",
        dest="source",
        metavar="SOURCE",
        help="file, folder that contains it, URL, or huggingface.co/OWNER/NAME",
    )
    parser.add_argument(
        "--form",
        choices=("single", "diffusers"),
        default="single",
        help="one file, or a folder in diffusers' layout in half precision, of half the size (default: single)",
    )
    parser.add_argument("--mirror", metavar="URL", help="use instead of https://huggingface.co (default: HF_ENDPOINT)")
    parser.add_argument(
        "--token",
        nargs="?",
        const="",
        help="ask for the access token of a gated repository (default: HF_TOKEN, or the one stored by `hf auth login`)",
    )


def _add_add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", type=path_given, metavar="FILE", help=".safetensors file, or folder in diffusers' layout"
    )
    parser.add_argument("--base", metavar="VERSION", help="version whose UNet the file replaces")
    parser.add_argument("--name", help="version name (default: file name)")
    parser.add_argument(
        "--num-frames", type=int, metavar="N", help="frames the model was trained on (default: guessed)"
    )
    parser.add_argument("--config", help="your own model configuration (default: the one that matches)")
    parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")


def list_models(arguments: argparse.Namespace) -> int:
    """Print every model version and the state of its checkpoint."""
    versions = load_all_versions()
    if arguments.json:
        for version in versions:
            path = version.checkpoint_path
            row = {**version.model_dump(), "checkpoint_path": None if path is None else str(path)}
            print_line(json.dumps(row))
        return 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("version", "frames", "size"):
        table.add_column(heading, no_wrap=True)
    for heading in ("licence", "checkpoint"):
        table.add_column(heading, overflow="fold")
    for version in versions:
        frames, size = "image", "prompt"
        if isinstance(version, ModelVersion):
            frames, size = str(version.num_frames), f"{version.width} x {version.height}"
        table.add_row(version.name, frames, size, version.licence, _checkpoint_state(version))
    # One line per version when the output is piped.
    width = None if sys.stdout.isatty() else 10_000
    Console(width=width, markup=False, highlight=False).print(table)
    return 0


def _checkpoint_state(version: CheckpointRow) -> str:
    path = version.checkpoint_path
    if path is not None:
        form = ", diffusers' layout" if path.is_dir() else ""
        unet = f" with the UNet {version.unet_path}" if version.unet else ""
        return f"{path}{unet} ({version.size_on_disk / 1e9:.2f} GB{form})"
    if version.own_path is not None:
        return f"missing: {version.checkpoint}, whose UNet {version.own_file} replaces"
    size = f" ({version.bytes / 1e9:.2f} GB)" if version.bytes else ""
    return f"missing: {version.own_file}{size}, source: {version.source}"


def download_models(arguments: argparse.Namespace) -> int:
    """Download checkpoints one after the other and print their paths."""
    versions = [find_any(name) for name in arguments.versions]
    if arguments.source and len(versions) > 1 and not Path(arguments.source).expanduser().is_dir():
        raise BadInput(
            f"--from must be a folder for several versions, got {arguments.source}; or download them one at a time"
        )
    token = _token(arguments.token)
    batch = Batch("versions", len(versions))
    for version in versions:
        with batch.item(version.name):
            _download(version, arguments, token)
    return batch.finish()


def _download(version: CheckpointRow, arguments: argparse.Namespace, token: str | None) -> None:
    path = version.own_path
    if path is not None:
        say(f"{version.name} is already installed; check it with `img2vid models verify {version.name}`")
    else:
        find = partial(find_source, version, arguments.source, arguments.mirror, token)
        with _bar(version.name) as on_progress:
            if arguments.form == "diffusers":
                path = download_folder(version, find, on_progress)
            else:
                path = download(version, find(None), on_progress)
    print_line(str(path))


def _token(given: str | None) -> str | None:
    """Return the given access token, with a warning; if it is empty, the one entered or read from stdin."""
    if given:
        say("--token VALUE is visible to other users of this computer; set HF_TOKEN, or pass --token without a value")
    elif given is not None:
        typed = getpass("Token (hidden): ") if sys.stdin.isatty() else sys.stdin.readline()
        if not typed.strip():
            raise BadInput("no token was entered; enter a token of type Read, which starts with hf_")
        return typed
    return given


def verify_models(arguments: argparse.Namespace) -> int:
    """Verify checkpoints. Report every invalid one and continue with the rest."""
    versions = [find_any(name) for name in arguments.versions]
    if not versions:
        versions = [version for version in load_all_versions() if version.checkpoint_path is not None]
    batch = Batch("versions", len(versions))
    for version in versions:
        with batch.item(version.name):
            with _bar(version.name) as on_progress:
                found = verify(version, on_progress)
            print_line(f"{version.name}: {found.sentence()}")
    return batch.finish()


def add_model(arguments: argparse.Namespace) -> int:
    """Propose a version row for a file and write it after confirmation."""
    # Imports torch, which takes seconds.
    from img2vid.engine.weights.detect_config import fitting_config

    with _bar(arguments.file.name) as on_progress:
        version = adding.propose(
            arguments.file,
            fitting_config,
            name=arguments.name,
            num_frames=arguments.num_frames,
            config=arguments.config,
            base=find_version(arguments.base) if arguments.base else None,
            on_progress=on_progress,
        )
    precision = precision_of(read_header(version.files[-1 if version.unet else 0]))
    say(f"{arguments.file} is {precision} and matches {version.config}; proposed row:")
    sys.stderr.write("\n" + rows.as_yaml(version) + "\n")
    if not _confirmed(arguments.yes, f"Add it to {rows.local_rows()}?"):
        return 1
    rows.add_row(version)
    print_line(version.name)
    return 0


def remove_model(arguments: argparse.Namespace) -> int:
    """Delete a checkpoint after confirmation."""
    removal = removing.plan_removal(find_any(arguments.version), load_all_versions(), shipped=arguments.shipped)
    say(f"{arguments.version}: {removal.sentence()}")
    if not _confirmed(arguments.yes, "Continue?"):
        return 1
    removing.remove(removal)
    return 0


def convert_model(arguments: argparse.Namespace) -> int:
    """Write a copy of a checkpoint in a smaller number format, add a version row and report the sizes."""
    from img2vid.engine.weights.conversion import convert, size_of_copy

    version = find_version(arguments.version)
    source, precision, model = (
        version.require_checkpoint(),
        arguments.precision,
        (version.config_path, version.unet_path),
    )
    copy = copies.plan_copy(version, precision, arguments.name, lambda: size_of_copy(source, precision, *model))
    target = copies.copy_path(version, copy)
    with _bar(version.name) as on_progress:
        meter = Meter("convert", on_progress)
        done = copies.write_copy(target, lambda file: convert(source, file, precision, meter, *model))
    rows.add_row(copy.model_copy(update={"bytes": done.bytes, "sha256": done.sha256}))
    before = version.size_on_disk
    say(
        f"{target}: {done.changed} of {done.tensors} tensors converted to {arguments.precision}, "
        f"{done.bytes / 1e9:.2f} GB instead of {before / 1e9:.2f} GB ({done.bytes / before:.0%}); "
        f"{source.name} is unchanged"
    )
    print_line(copy.name)
    return 0


def _confirmed(already: bool, question: str) -> bool:
    """Return True if the user agrees. Raise BadInput if stdin is not a terminal."""
    if already:
        return True
    if not sys.stdin.isatty():
        raise BadInput("not a terminal, so cannot ask for confirmation; pass --yes")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    agreed = sys.stdin.readline().strip().lower() in ("y", "yes")
    if not agreed:
        say("nothing changed")
    return agreed


@contextmanager
def _bar(name: str) -> Generator[OnProgress, None, None]:
    """Show progress on stderr: a bar on a terminal, otherwise a line per 10 % and per retry."""
    with Bar(DownloadColumn(), TextColumn("{task.fields[pace]}"), transient=True) as bar:
        bar.show("", 0, None, pace="")

        def show(progress: Progress) -> None:
            text, pace = progress.note or STAGES[progress.stage].format(name), _pace(progress)
            line = _line(progress, text, pace)
            bar.show(text, progress.done, progress.total or None, line=line, pace=pace)

        yield show


def _pace(progress: Progress) -> str:
    """Format the speed and the time left."""
    speed = f"{progress.speed / 1e6:.1f} MB/s" if progress.speed else ""
    left = progress.seconds_left
    return speed if left is None else f"{speed}, {timedelta(seconds=round(left))} left"


def _line(progress: Progress, text: str, pace: str) -> tuple[object, str] | None:
    """Return a line without a bar; its key changes with every 10 % and with the reason for a retry."""
    if progress.stage == "check":
        return None
    if progress.stage == "wait":
        return progress.note.split(";")[0], progress.note
    tenth = 10 * progress.done // progress.total if progress.total else 0
    amount = f"{progress.done / 1e9:.2f} of {progress.total / 1e9:.2f} GB"
    return tenth, ", ".join(filter(None, (f"{text}: {amount}", pace)))
