"""Project folder, home (the output folder), checkpoint folders and safe file names."""

import os
import re
import secrets
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path, PurePath

from img2vid.errors import BadInput
from img2vid.files import remove, remove_folder
from img2vid.windows import FORBIDDEN, folder_fault

_PACKAGE = Path(__file__).resolve().parent
IS_INSTALLED = (_PACKAGE / "project").is_dir()
"""True for a package installed from a wheel, which setup.py builds; False in a checkout."""

PROJECT = _PACKAGE / "project" if IS_INSTALLED else _PACKAGE.parent
"""Folder with `configs/`, `checkpoints/` and `assets/` as shipped."""

CONFIGS = PROJECT / "configs"
COMPONENTS = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model", "image_encoder": "model"}
"""Components of a model in diffusers' layout: folder, and name of the file with the weights without its suffix."""
_confines: list[Path] | None = None
"""Folders that the users of a shared dashboard may name; None if it is not shared."""

LONGEST_NAME = 80
"""Maximum length of `safe_name`. With version and seed, file names stay below 255 bytes."""
_DEVICE = re.compile(r"(con|prn|aux|nul|(com|lpt)[0-9\u00b9\u00b2\u00b3]|con(in|out)\$) *(\.|$)", re.IGNORECASE)
"""Names that Windows reserves for devices, with any suffix."""


def setup_fault() -> str:
    """Return one sentence if the checkout's own environment, which is running, was moved or is incomplete, else ""."""
    venv = PROJECT / ".venv"
    if IS_INSTALLED or not venv.is_dir() or Path(sys.prefix).resolve() != venv.resolve():
        return ""
    # scripts/environment.py writes the constraints first and a stamp last; an environment made by hand has neither.
    if (venv / "constraints.txt").is_file() and not any(venv.glob("img2vid-*")):
        return f"the set-up of the environment {venv} did not finish"
    place = venv / "place.txt"
    before = place.read_text(encoding="utf-8") if place.is_file() else str(venv.resolve())
    return "" if before == str(venv.resolve()) else f"the environment was moved here from {before}"


def user_folder() -> Path:
    """Return the folder of the user's files: the checkout, or the system's folder for data of an installed program."""
    if not IS_INSTALLED:
        return PROJECT
    if sys.platform == "win32":
        place = os.environ.get("LOCALAPPDATA") or "~/AppData/Local"
    elif sys.platform == "darwin":
        place = "~/Library/Application Support"
    else:
        place = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(place).expanduser() / "img2vid"


def home() -> Path:
    """Return the folder for everything the program writes: `IMG2VID_HOME`, or `outputs/` in the user's folder."""
    return Path(os.environ.get("IMG2VID_HOME") or user_folder() / "outputs").expanduser().resolve()


def local_versions() -> Path:
    """Return the path of the file with the user's own versions."""
    return (user_folder() if IS_INSTALLED else CONFIGS) / "versions.local.yaml"


def safe_name(name: str) -> str:
    """Return a short file name that is valid on every system, from any name. It never leaves its folder."""
    # Browsers on Windows may send whole paths with backslashes.
    last = re.split(r"[/\\]", name)[-1]
    # Characters that Windows forbids, and control characters, invisible ones and lone surrogates.
    unsafe = {one for one in last if one in FORBIDDEN or unicodedata.category(one) in ("Cc", "Cf", "Cs", "Zl", "Zp")}
    short = _shortened("".join("_" if one in unsafe else one for one in last))
    return _shortened(f"_{short}") if _DEVICE.match(short) else short or "picture"


def _shortened(name: str) -> str:
    cut = name.strip(" .").encode("utf-8")[: 2 * LONGEST_NAME].decode("utf-8", "ignore")
    return cut[:LONGEST_NAME].strip(" .")


def confine(folders: Iterable[Path]) -> None:
    """Make `chosen_folder` refuse everything outside the home and these folders."""
    global _confines
    given = [Path(os.environ.get("IMG2VID_HOME") or home()), *folders]
    _confines = [form for folder in given for form in (_absolute(folder), folder.expanduser().resolve())]


def _absolute(path: Path) -> Path:
    """Return an absolute path without `..` and `~`. Unlike `resolve`, it does not touch the disk or the network."""
    return Path(os.path.abspath(path.expanduser()))  # noqa: PTH100


def is_within(path: PurePath, folders: Iterable[PurePath]) -> bool:
    """Return whether an absolute path without links and `..` is one of the folders or below one."""
    return any(path.is_relative_to(folder) for folder in folders)


def without_quotes(text: str) -> str:
    """Return a path that was pasted without the quotes that file managers copy."""
    return text.strip().strip("\"'").strip()


def chosen_folder(text: str) -> Path:
    """Return the absolute path of a folder that was entered on the page; it may not exist.

    Raise BadInput if the text is not a path, or if the dashboard is shared and the folder is outside the allowed ones,
    itself or where its links lead.
    """
    try:
        path = _absolute(Path(text))
        if "\0" in text:
            raise ValueError("it has a zero byte")
        if _confines is None:
            return path
        # Check the text first: on Windows, looking at \\server\share would already contact that server.
        if is_within(path, _confines) and is_within(path.resolve(), _confines):
            return path.resolve()
    except (OSError, ValueError, RuntimeError) as error:  # path too long, zero byte, unknown user after ~
        reason = getattr(error, "strerror", None) or error
        raise BadInput(f"'{text[:200]}' is not a usable folder ({reason}); choose another one") from error
    raise BadInput(f"'{text[:200]}' is outside the folders of this shared dashboard; choose a folder in {home()}")


def require_writable(folder: Path) -> None:
    """Raise BadInput if `folder` cannot be written to or created, or its name is not Unicode. Leaves nothing behind."""
    if not is_unicode(folder):
        raise BadInput(f"the name of the folder {str(folder)!r} is not valid Unicode; choose another one")
    whole = nearest = folder.absolute()
    on_windows = sys.platform == "win32"
    try:
        while not nearest.exists() and nearest != nearest.parent:
            nearest = nearest.parent
        fault = folder_fault(whole, nearest) if on_windows else ""
    except OSError as error:  # path too long
        fault = str(error.strerror)
    if fault:
        raise BadInput(f"'{str(folder)[:200]}' is not a usable folder ({fault}); choose another one")
    writable = nearest.is_dir() and os.access(nearest, os.W_OK)
    if writable and on_windows:  # where os.access ignores permissions
        try:
            try_writing(whole, nearest)
        except OSError:
            writable = False
    if not writable:
        raise BadInput(f"nothing can be written to the folder '{folder}'; choose another one")


def try_writing(folder: Path, existing: Path) -> None:
    """Write a file to `folder` and remove it. Raise OSError if that fails.

    If the folder is missing, create and remove a folder in `existing`, its nearest parent: in C:\\, Windows lets users
    create folders but no files. `tempfile` retries 10,000 times in a folder without permission there.
    """
    attempt = existing / f".{secrets.token_hex(8)}.part"
    if folder == existing:
        attempt.write_bytes(b"img2vid")
        remove(attempt)
    else:
        attempt.mkdir()
        remove_folder(attempt)


def is_unicode(path: Path) -> bool:
    """Return False for a path with bytes or surrogates that neither the database nor a page can hold."""
    return str(path).encode("utf-8", "replace").decode() == str(path)


def checkpoint_folders() -> list[Path]:
    """Return the checkpoint folders in search order.

    `checkpoints/` of the user's folder comes first, then the shipped files of an installed package, then the folders of
    `IMG2VID_CHECKPOINTS`, separated as in PATH.
    """
    more = os.environ.get("IMG2VID_CHECKPOINTS", "").split(os.pathsep)
    own = dict.fromkeys([user_folder() / "checkpoints", PROJECT / "checkpoints"])
    return [*own, *(Path(folder).expanduser() for folder in more if folder)]


def find_checkpoint(name: str) -> Path | None:
    """Return the first checkpoint called `name` in the checkpoint folders, or None.

    A diffusers folder named like the file, without its suffix, counts as the checkpoint too.
    """
    for folder in checkpoint_folders():
        for path in (folder / name, folder / name.removesuffix(".safetensors")):
            if weight_files(path):
                return path
    return None


def weight_files(checkpoint: Path) -> list[Path]:
    """Return the files with the weights: the file itself, or those of a diffusers folder; none if one is missing."""
    if not checkpoint.is_dir():
        return [checkpoint] if checkpoint.is_file() else []
    parts = [component_files(checkpoint, component) for component in COMPONENTS]
    return [file for files in parts for file in files] if all(parts) else []


def component_files(folder: Path, component: str) -> list[Path]:
    """Return the file or the shards with the weights of a component, in full precision if both forms exist."""
    stem = COMPONENTS[component]
    for variant in ("", ".fp16", ".bf16"):
        file = folder / component / f"{stem}{variant}.safetensors"
        if file.is_file():
            return [file]
        shards = sorted((folder / component).glob(f"{stem}{variant}-*-of-*.safetensors"))
        if shards and shards[0].stem.endswith(f"-of-{len(shards):05}"):
            return shards
    return []
