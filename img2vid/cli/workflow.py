"""ComfyUI's workflows: the `img2vid export-workflow` command, and the option `--workflow` of others."""

import argparse
import json
import re
from pathlib import Path
from typing import Any

from img2vid import paths
from img2vid.cli.options import path_given
from img2vid.cli.output import print_line, say
from img2vid.errors import BadInput
from img2vid.files import all_or_none, reason, whole_file


def add_export_workflow(commands: Any) -> None:
    """Add the subcommand to argparse's subparsers."""
    parser = commands.add_parser(
        "export-workflow",
        help="write the settings of a video as ComfyUI workflows",
        description="Write the settings of a video for ComfyUI, as NAME_comfyui.json for its page and "
        "NAME_comfyui_api.json for its server, and print their paths.",
        allow_abbrev=False,
    )
    parser.set_defaults(command=export)
    parser.add_argument("video", type=path_given, metavar="VIDEO", help="MP4 file made by img2vid")
    parser.add_argument("--out", type=path_given, metavar="DIR", help="output folder (default: the video's)")


def export(arguments: argparse.Namespace) -> int:
    """Write both forms, replacing older ones. Raise BadInput unless img2vid made the video."""
    from img2vid.comfyui.export import export_workflow
    from img2vid.media.videos import not_written, read_metadata
    from img2vid.settings_validation import make_settings, read_settings
    from img2vid.text_to_image.settings import image_settings_of
    from img2vid.text_to_image.workflow import prompt_of_image

    video: Path = arguments.video
    if not video.is_file():
        raise BadInput(f"there is no video '{video}'; check its name")
    metadata = read_metadata(video)
    settings = make_settings({**read_settings(metadata, f"'{video.name}'", newer=True), "num_samples": 1})
    image = image_settings_of(metadata)
    exported = export_workflow(settings, _picture_name(metadata) if image is None else prompt_of_image(image))
    folder = video.parent if arguments.out is None else arguments.out
    files = {"_comfyui.json": exported.page, "_comfyui_api.json": exported.api}
    try:
        with all_or_none() as written:
            for suffix, tree in files.items():
                path = folder / f"{video.stem}{suffix}"
                with whole_file(path) as part:
                    part.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8", newline="\n")
                written[suffix] = path
    except OSError as error:
        raise not_written(folder, error) from error
    if exported.notice:
        say(exported.notice)
    rows = exported.api.values()
    needed = {name: [row["inputs"][name] for row in rows if name in row["inputs"]] for name in ("ckpt_name", "image")}
    places = [
        f"{' and '.join(needed['ckpt_name'])} in models/checkpoints",
        *(f"{one} in input" for one in needed["image"]),
    ]
    say(f"ComfyUI needs {' and '.join(places)}")
    for path in written.values():
        print_line(str(path))
    return 0


def workflow_given(path: Path | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return a workflow's settings of the video and of the image from words, and print what has no counterpart.

    The image's settings are empty if it makes none. Raise BadInput if it makes no video.
    """
    if path is None:
        return {}, {}
    from img2vid.comfyui.files import workflow_of_file
    from img2vid.comfyui.read import left_out_sentence
    from img2vid.text_to_image.workflow import image_of_workflow

    try:
        workflow = workflow_of_file(path.read_bytes(), f"'{path.name}'")
    except OSError as error:
        raise BadInput(f"the workflow '{path}' cannot be read ({reason(error)}); check its name") from error
    if not workflow.settings:
        raise BadInput(f"'{path.name}' makes no video with Stable Video Diffusion; choose another workflow")
    image, left_out = (None, []) if workflow.prompt is None else image_of_workflow(workflow.prompt)
    if sentence := left_out_sentence([*workflow.left_out, *left_out]):
        say(sentence)
    return workflow.settings, {} if image is None else image.model_dump(exclude={"candidates", "watermark"})


def _picture_name(metadata: dict[str, Any]) -> str:
    """Return the name of the input picture, with its suffix if this computer has it."""
    name, checksum = metadata.get("picture"), metadata.get("picture_sha256")
    suffix = ".png"
    if isinstance(checksum, str) and re.fullmatch("[0-9a-f]{64}", checksum):
        found = sorted((paths.home() / "inputs").glob(f"{checksum}.*"))
        suffix = found[0].suffix if found else suffix
    return f"{name if isinstance(name, str) and name else 'picture'}{suffix}"
