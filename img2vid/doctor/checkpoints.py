"""The checkpoints, and the reference package sgm."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from img2vid.doctor.report import Finding, note, ok, problem

if TYPE_CHECKING:
    from img2vid.versions import ModelVersion

ROUNDED = 10_000_000
"""Sizes that are multiples of this are known only roughly, as they stand on a page."""


def judge_checkpoints(versions: Sequence["ModelVersion"]) -> Finding:
    """Which checkpoints are there and which are not."""
    there = [version.name for version in versions if version.checkpoint_path is not None]
    missing = [version.name for version in versions if version.checkpoint_path is None]
    if not there:
        remedy = f"Download one, for example with `img2vid models download {missing[0] if missing else 'svd_xt'}`."
        return problem("checkpoints", "There is no checkpoint at all.", remedy)
    found = f"Here: {', '.join(there)}."
    if missing:
        remedy = f"Download those you want, for example with `img2vid models download {missing[0]}`."
        return note("checkpoints", f"{found} Not here: {', '.join(missing)}.", remedy)
    return ok("checkpoints", found)


def judge_checkpoint(version: "ModelVersion", path: Path, size: int, fault: str | None, reason: str) -> Finding:
    """One file that is there. fault: what its header tells, empty where it fits, None where it could not be read.

    size: bytes. reason: why the header could not be read. A file of another size than the published one is right where
    its header fits: there are copies in float16.
    """
    found = f"{version.name}: {path}, {_words(size)}"
    if version.bytes is not None and not _size_fits(size, version.bytes):
        found += f" (the published file has {_words(version.bytes)})"
    if fault:
        return problem("checkpoint", f"{version.name}: {fault}.", _again(version))
    if path.suffix != ".safetensors":
        remedy = "Use the .safetensors file if there is one; a pickled file needs `--allow-pickle`."
        return note("checkpoint", f"{found}, is not a .safetensors file and was not looked into.", remedy)
    if fault is None:
        remedy = "Mend what the reason names, then look again."
        return note("checkpoint", f"{found}, could not be compared with its configuration: {reason}.", remedy)
    return ok("checkpoint", f"{found}, is whole and fits its configuration.")


def _again(version: "ModelVersion") -> str:
    if version.sha256:
        return f"Move the file away and run `img2vid models download {version.name}`."
    return f"Move the file away and get it again (source: {version.source})."


def _words(size: int) -> str:
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"


def _size_fits(size: int, expected: int) -> bool:
    if expected % ROUNDED:
        return size == expected
    return abs(size - expected) <= ROUNDED // 2


def judge_sgm(fault: str | None, reason: str, wanted: bool) -> Finding:
    """fault: why sgm does not import; empty where it does, None where it is not installed. reason: why that is unknown.

    wanted: whether IMG2VID_ENGINE asks for it.
    """
    if fault == "" and not reason:
        return ok("sgm", "The reference package sgm imports.")
    if reason:
        found = f"Whether the reference package sgm imports is not known: {reason}."
    elif fault:
        found = f"The reference package sgm is installed and does not import: {fault}."
    else:
        found = "The reference package sgm is not installed."
    remedy = "Only the sgm engine needs it: install it with requirements/sgm.txt, or leave IMG2VID_ENGINE unset."
    if wanted:
        return problem("sgm", found, remedy)
    if fault is None and not reason:
        return ok("sgm", f"{found} Only the sgm engine needs it.")
    return note("sgm", found, remedy)
