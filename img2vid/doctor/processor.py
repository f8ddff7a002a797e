"""Processor check: instruction sets, fast number formats and working fast paths."""

from collections.abc import Mapping, Sequence
from typing import Any

from img2vid.doctor.report import Finding, note, ok
from img2vid.hardware import SLOWER

FASTER = 0.8
"""Ratio to the time in float32 below which a number format counts as faster."""


def judge_processor(facts: Mapping[str, Any] | None, reason: str) -> Finding:
    """Describe the processor. facts: `img2vid.engine.probe.processor_facts`; reason: why they are missing."""
    # Lazy: a broken psutil must not end the doctor.
    from img2vid.doctor.facts import processor

    name = processor()
    if facts is None:
        return note("processor", f"{name}. Details unknown: {reason}.", "Fix the torch problem above first.")
    sets = ", ".join(facts["instructions"]) or facts["level"]
    sentences = [f"{name}: {sets}, PyTorch uses {facts['threads']} threads"]
    if facts["limits"]:
        sentences.append(f"Restricted by {', '.join(f'{key}={value}' for key, value in facts['limits'].items())}")
    sentences += [_formats(facts["slowdown"]), *_fast_paths(facts["fast_paths"])]
    return ok("processor", " ".join(f"{sentence}." for sentence in sentences))


def _formats(slowdown: Mapping[str, float]) -> str:
    groups: dict[str, list[str]] = {"faster": [], "about as fast": [], "slower": []}
    for name, ratio in slowdown.items():
        groups["faster" if ratio < FASTER else "slower" if ratio > SLOWER else "about as fast"].append(name)
    parts = [f"{' and '.join(names)} {word}" for word, names in groups.items() if names]
    return f"Compared with fp32: {', '.join(parts)}"


def _fast_paths(trials: Sequence[Mapping[str, str]]) -> list[str]:
    """Return a sentence for each fast path and device: the formats in which it is used, and why not in others."""
    sentences: list[str] = []
    for path, device in dict.fromkeys((trial["path"], trial["device"]) for trial in trials):
        mine = [trial for trial in trials if (trial["path"], trial["device"]) == (path, device)]
        used = [trial["precision"] for trial in mine if not trial["fault"]]
        left_out = [f"not in {trial['precision']} ({trial['fault']})" for trial in mine if trial["fault"]]
        place = "" if device == "cpu" else f" on {device}"
        formats = [f"in {', '.join(used)}"] if used else []
        sentences.append(f"Fast path {path}{place}: {'; '.join([*formats, *left_out])}")
    return sentences
