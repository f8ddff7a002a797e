"""All checks, in report order. An unexpected exception in a check becomes a problem of its own."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from img2vid import paths
from img2vid.doctor import cards, checkpoints, machine, processor
from img2vid.doctor.probe_process import Answers, Question, run_probe
from img2vid.doctor.report import Finding, problem
from img2vid.hardware import Card, find_cards
from img2vid.remedies import import_remedy

if TYPE_CHECKING:
    from img2vid.versions import ModelVersion

REPORT_IT = "Fix the cause named above. If it is not part of your setup, report it with this output."


@dataclass
class Found:
    """Shared inputs of the checks: versions, probe results for torch and the checkpoints, and the driver's GPUs."""

    versions: list["ModelVersion"] = field(default_factory=list["ModelVersion"])
    answers: Answers = field(default_factory=Answers)
    installed: Sequence[Card] = ()

    @property
    def torch(self) -> cards.TorchFacts | None:
        """Probe result for torch, or None if there is no result."""
        facts = self.answers.facts.get("torch")
        return None if facts is None else cards.TorchFacts.of(facts)


def run_checks() -> list[Finding]:
    """Run all checks and return their findings; exceptions become findings."""
    found = Found()
    findings: list[Finding] = []
    for name, check in {"versions": _read_versions, "answers": _gather, **CHECKS}.items():
        findings += guarded(name, lambda check=check: check(found))
    return findings


def guarded(name: str, check: Callable[[], list[Finding]]) -> list[Finding]:
    """Return the findings of a check, or a single problem if it raises."""
    try:
        return check()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # noqa: BLE001 - any failure becomes a finding; panics of Rust are no Exceptions
        reason = f"{type(error).__name__}: {' '.join(str(error).split())[:400].rstrip('.')}"
        remedy = import_remedy(reason) if isinstance(error, ImportError) else REPORT_IT
        return [problem(name, f"Check failed: {reason}.", remedy)]


def _read_versions(found: Found) -> list[Finding]:
    from img2vid.versions import load_versions

    found.versions = list(load_versions().values())
    if found.versions:
        return []
    place = paths.CONFIGS / "versions.yaml"
    return [problem("versions", f"{place} lists no model.", "Restore img2vid's own file, or add a version to it.")]


def _gather(found: Found) -> list[Finding]:
    found.installed = find_cards().cards
    there = [(version, version.checkpoint_path) for version in found.versions]
    questions = [
        Question(version.name, version.config_path, path, version.unet_path)
        for version, path in there
        if path is not None and (path.suffix == ".safetensors" or path.is_dir())
    ]
    found.answers = run_probe(questions)
    return []


def _torch(found: Found) -> list[Finding]:
    return [cards.judge_torch(found.torch, found.answers.reason("torch"), found.installed)]


def _processor(found: Found) -> list[Finding]:
    return [processor.judge_processor(found.answers.facts.get("processor"), found.answers.reason("processor"))]


def _cards(found: Found) -> list[Finding]:
    return cards.judge_cards(found.torch, found.installed, os.environ.get("CUDA_VISIBLE_DEVICES"))


def _card_memory(found: Found) -> list[Finding]:
    return [cards.judge_card_memory(card) for card in (found.torch.cards if found.torch else ())]


def _port(found: Found) -> list[Finding]:
    from img2vid.file_lock import is_held

    return [machine.check_port(os.environ.get("STREAMLIT_SERVER_PORT"), is_held(paths.home()))]


def _checkpoints(found: Found) -> list[Finding]:
    if not found.versions:
        return []  # already reported by the versions check
    findings = [checkpoints.judge_checkpoints(found.versions)]
    for version in found.versions:
        path, topic = version.checkpoint_path, f"checkpoint {version.name}"
        if path is not None:
            facts, reason = found.answers.facts.get(topic), found.answers.reason(topic)
            findings.append(checkpoints.judge_checkpoint(version, path, version.size_on_disk, facts, reason))
    return findings


def _sgm(found: Found) -> list[Finding]:
    known = "sgm" in found.answers.facts
    reason = "" if known else found.answers.reason("sgm")
    return [checkpoints.judge_sgm(found.answers.facts.get("sgm"), reason, os.environ.get("IMG2VID_ENGINE") == "sgm")]


CHECKS: dict[str, Callable[[Found], list[Finding]]] = {
    "Python": lambda found: [machine.check_python()],
    "packages": lambda found: [machine.check_packages(paths.PROJECT / "requirements" / "runtime.txt")],
    "torch": _torch,
    "processor": _processor,
    "graphics card": _cards,
    "card memory": _card_memory,
    "memory": lambda found: [machine.check_memory()],
    "paging file": lambda found: machine.check_commit_limit(
        {version.name: version.size_on_disk for version in found.versions if version.files}
    ),
    "disk": lambda found: machine.check_disk(paths.home(), paths.checkpoint_folders()),
    "home": lambda found: [machine.check_home(paths.home())],
    "video encoder": lambda found: [machine.check_encoder()],
    "port": _port,
    "checkpoints": _checkpoints,
    "sgm": _sgm,
}
"""Checks in report order, by the name that a crashed check gets."""
