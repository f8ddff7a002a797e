"""Fingerprints of runs: what changes each of them, and that values stored by earlier versions stay valid."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from other_settings import OTHER_VALUES

from img2vid.jobs.fingerprint import AFTER_SAMPLING, OF_DECODING, of_latents, of_memory, of_video
from img2vid.options import LoadOptions
from img2vid.settings import ABOUT, PARAMS, SampleSettings

CHOICE = LoadOptions("native", "cpu", "fp32")
OTHER_OPTIONS: dict[str, Any] = {
    **{"provider": "sgm", "device": "cuda", "precision": "fp16", "decoder_precision": "bf16", "memory": "stages"},
    **{"compile": True, "threads": 3, "allow_pickle": True},
}
"""One other value for each engine option."""
MEMORY_SETTINGS = {"version", "width", "height", "num_frames", "decode_t"}


def another(settings: SampleSettings, name: str) -> SampleSettings:
    """Return the settings with another value of one of them."""
    default, other = SampleSettings.model_fields[name].default, OTHER_VALUES[name]
    value = other if getattr(settings, name) != other else default
    return SampleSettings(**{**settings.model_dump(), name: value})


@given(name=st.sampled_from(sorted(set(OTHER_VALUES) - {"num_samples"})))
def test_each_used_setting_changes_the_video(name: str) -> None:
    for settings in (SampleSettings(), SampleSettings(**OTHER_VALUES)):
        used = (settings.sampler, settings.discretization, settings.guider)
        unused = any(name in names for names in PARAMS.values()) and not any(name in PARAMS[key] for key in used)
        same = of_video(settings, CHOICE, "a.png") == of_video(another(settings, name), CHOICE, "a.png")
        assert same is unused


@pytest.mark.parametrize("name", sorted(OTHER_VALUES))
def test_settings_used_after_sampling_do_not_change_the_latents(name: str) -> None:
    settings = SampleSettings()
    same = of_latents(settings, CHOICE, "0" * 64) == of_latents(another(settings, name), CHOICE, "0" * 64)
    assert same is (name in AFTER_SAMPLING)


@pytest.mark.parametrize("name", sorted(OTHER_VALUES))
def test_settings_of_size_change_the_memory(name: str) -> None:
    settings = SampleSettings()
    assert (of_memory(settings, CHOICE) == of_memory(another(settings, name), CHOICE)) is (name not in MEMORY_SETTINGS)


def test_each_engine_option_changes_what_depends_on_it() -> None:
    settings = SampleSettings()
    assert OTHER_OPTIONS.keys() == {field.name for field in fields(LoadOptions)}
    for name, value in OTHER_OPTIONS.items():
        other = replace(CHOICE, **{name: value})
        same = of_video(settings, CHOICE, "a.png") == of_video(settings, other, "a.png")
        assert same is (name in ("memory", "compile", "threads", "allow_pickle")), name
        same = of_latents(settings, CHOICE, "0" * 64) == of_latents(settings, other, "0" * 64)
        assert same is (name in OF_DECODING), name
        assert (of_memory(settings, CHOICE) == of_memory(settings, other)) is (name in ("threads", "allow_pickle")), (
            name
        )


def test_another_picture_is_another_video_whatever_its_format() -> None:
    settings = SampleSettings()
    assert (
        of_video(settings, CHOICE, "a.png")
        == of_video(settings, CHOICE, "a.jpg")
        != of_video(settings, CHOICE, "b.png")
    )
    assert of_latents(settings, CHOICE, "0" * 64) != of_latents(settings, CHOICE, "1" * 64)


def test_values_stored_by_earlier_versions_stay_valid() -> None:
    settings = SampleSettings(version="svd_tiny", seed=5)
    assert of_video(settings, CHOICE, "0123.png") == "44945559309b814e949d20b1beaf67ec9292bb3a6c06924524ebcc9cea1d2602"
    assert of_latents(settings, CHOICE, "0123") == "c5c3b04df7712dee5f0f35a441c90ddb"
    assert of_memory(settings, CHOICE) == "memory svd_tiny native cpu fp32 auto auto 160 96 14 14"


def test_a_setting_added_later_counts_only_with_another_value_than_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fingerprints are stored: a new setting must not change those of videos made before it existed."""

    def fingerprints(fps: int) -> list[str]:
        settings = SampleSettings(fps=fps)
        return [of_video(settings, CHOICE, "a.png"), of_latents(settings, CHOICE, "0")]

    assert ABOUT["fps"].added_later is False
    default, other = fingerprints(6), fingerprints(9)
    monkeypatch.setitem(ABOUT, "fps", replace(ABOUT["fps"], added_later=True))
    assert fingerprints(9) == other
    assert not {*fingerprints(6)} & {*default, *other}
