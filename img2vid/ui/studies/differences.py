"""Differences between the videos of a comparison, in words, and the labels that follow from them."""

from collections.abc import Mapping, Sequence
from typing import Any

from img2vid.options import OPTIONS, LoadOptions
from img2vid.settings import SampleSettings, label_of, used_settings, value_text
from img2vid.ui import formatting, tabs
from img2vid.versions import ModelVersion

ENGINE_LABELS = {name: OPTIONS[name]["label"].lower() for name in ("provider", "precision", "decoder_precision")}
ENGINE = tuple(ENGINE_LABELS)
"""Engine options that are compared; the rest of LoadOptions depends on the machine."""
_ORDER = (*SampleSettings.model_fields, *ENGINE)


def facts(settings: SampleSettings, options: LoadOptions) -> dict[str, Any]:
    """Return all settings and engine options by name, for finding differences."""
    return {**settings.model_dump(), **{name: getattr(options, name) for name in ENGINE}}


def differing(first: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Return the names of the facts that differ, ignoring num_samples and those that neither run uses."""
    used = {*used_settings(first), *used_settings(other), *ENGINE} - {"num_samples"}
    return [name for name in _ORDER if name in used and first[name] != other[name]]


def fact_text(name: str, value: object) -> str:
    """Return a setting and its value as text: "steps 30", "watermark off"; a version is its name only."""
    if name == "version":
        return str(value)
    return f"{ENGINE_LABELS.get(name) or label_of(name)} {'as fps' if value is None else value_text(value)}"


def badges(first: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Return the differences between the first column and another as Markdown, or ""."""
    texts = [formatting.plain(fact_text(name, other[name])) for name in differing(first, other)]
    return f"Differs from column 1: {' '.join(f':primary-badge[{text}]' for text in texts)}" if texts else ""


def labels(runs: Sequence[Mapping[str, Any]], versions: Mapping[str, ModelVersion]) -> list[str]:
    """Return a unique short label for each run: its version, and differences other than the versions' defaults."""
    names = {name for other in runs[1:] for name in differing(runs[0], other)} - {"version"}
    unusual = [name for name in _ORDER if name in names and any(not _is_default(run, name, versions) for run in runs)]
    plain = [", ".join([run["version"], *(fact_text(name, run[name]) for name in unusual)]) for run in runs]
    return [
        label if plain.count(label) == 1 else f"{label} ({plain[:index].count(label) + 1})"
        for index, label in enumerate(plain)
    ]


def _is_default(run: Mapping[str, Any], name: str, versions: Mapping[str, ModelVersion]) -> bool:
    if name in ENGINE:
        return run[name] == getattr(LoadOptions(), name)
    version = versions.get(run["version"])
    return version is not None and tabs.defaults_of(version)[name] == run[name]
