"""Checks of the checkpoints and of the reference package sgm."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from img2vid.doctor.report import Finding, note, ok, problem

if TYPE_CHECKING:
    from img2vid.versions import ModelVersion

ROUNDED = 10_000_000
"""Published sizes that are multiples of this are rounded."""


def judge_checkpoints(versions: Sequence["ModelVersion"]) -> Finding:
    """List the installed and the missing checkpoints."""
    there = [version.name for version in versions if version.checkpoint_path is not None]
    missing = [version.name for version in versions if version.checkpoint_path is None]
    if not there:
        remedy = f"Download one, for example with `img2vid models download {missing[0] if missing else 'svd_xt'}`."
        return problem("checkpoints", "No checkpoint is installed.", remedy)
    found = f"Installed: {', '.join(there)}."
    if missing:
        remedy = f"Download the ones you need, for example with `img2vid models download {missing[0]}`."
        return note("checkpoints", f"{found} Not installed: {', '.join(missing)}.", remedy)
    return ok("checkpoints", found)


def judge_checkpoint(version: "ModelVersion", path: Path, size: int, fault: str | None, reason: str) -> Finding:
    """Judge an installed checkpoint file by its header.

    size: bytes. fault: mismatch found in the header, empty if it matches, None if it was not read. reason: why it was
    not read. A size other than the published one is fine if the header matches; float16 copies exist.
    """
    found = f"{version.name}: {path}, {_words(size)}"
    single = version.unet is None and not path.is_dir()
    if version.bytes is not None and single and not _size_fits(size, version.bytes):
        found += f" (published size: {_words(version.bytes)})"
    if fault:
        return problem("checkpoint", f"{version.name}: {fault}.", _replacement_remedy(version))
    if path.suffix != ".safetensors" and not path.is_dir():
        remedy = "Use the .safetensors file if available. A pickled file needs `--allow-pickle`."
        return note("checkpoint", f"{found}, is not a .safetensors file and was not checked.", remedy)
    if fault is None:
        remedy = "Fix the cause, then run the checks again."
        return note("checkpoint", f"{found}, could not be checked against its configuration: {reason}.", remedy)
    return ok("checkpoint", f"{found}, is complete and matches its configuration.")


def _replacement_remedy(version: "ModelVersion") -> str:
    if version.sha256:
        return f"Move the file away and run `img2vid models download {version.name}`."
    return f"Move the file away and replace it (source: {version.source})."


def _words(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _size_fits(size: int, expected: int) -> bool:
    if expected % ROUNDED:
        return size == expected
    return abs(size - expected) <= ROUNDED // 2


def judge_sgm(fault: str | None, reason: str, wanted: bool) -> Finding:
    """Check the reference package sgm.

    fault: its import error, empty if it can be imported, None if it is not installed. reason: why that is unknown.
    wanted: whether IMG2VID_ENGINE selects it.
    """
    if fault == "" and not reason:
        return ok("sgm", "The reference package sgm can be imported.")
    if reason:
        found = f"The reference package sgm could not be checked: {reason}."
    elif fault:
        found = f"The reference package sgm is installed but cannot be imported: {fault}."
    else:
        found = "The reference package sgm is not installed."
    remedy = "Only the sgm engine needs it. Install requirements/sgm.txt, or unset IMG2VID_ENGINE."
    if wanted:
        return problem("sgm", found, remedy)
    if fault is None and not reason:
        return ok("sgm", f"{found} Only the sgm engine needs it.")
    return note("sgm", found, remedy)
