"""Settings: defaults, limits, labels, and messages for invalid values."""

import json
import math
from dataclasses import fields
from itertools import product
from typing import Any, get_args

import pytest
from foreign_metadata import METADATA
from hypothesis import given, settings
from hypothesis import strategies as st
from other_settings import OTHER_VALUES

from img2vid.errors import BadInput
from img2vid.jobs.job import settings_from_text
from img2vid.orbit import Orbit, dynamic, level
from img2vid.settings import (
    ABOUT,
    APPROXIMATIONS,
    CONDITIONING,
    MAX_SEED,
    PARAMS,
    Discretization,
    Guider,
    Sampler,
    SampleSettings,
    approximated,
)
from img2vid.settings_validation import MISSING_IN_SGM, check_provider, make_settings, read_settings, requirement

FIELDS = SampleSettings.model_fields
SAMPLERS, DISCRETIZATIONS, GUIDERS = get_args(Sampler), get_args(Discretization), get_args(Guider)
NUMBERS = [name for name in FIELDS if ABOUT[name].highest < math.inf]
WHOLE = [name for name in NUMBERS if FIELDS[name].annotation is int]
ANGLES = [name for name in FIELDS if ABOUT[name].numbers and ABOUT[name].group == "orbit"]
CHOICES = [name for name in FIELDS if requirement(name).startswith("one of ")]
WRONG_TYPES: tuple[object, ...] = (None, "many", "", [], [1], {}, object, math.nan, math.inf, -math.inf, "nan", "inf")

REFERENCE_DEFAULTS = {
    "fps": 6,
    "motion_bucket_id": 127,
    "cond_aug": 0.02,
    "seed": 23,
    "num_samples": 1,
    "sampler": "EulerEDMSampler",
    "s_churn": 0,
    "s_tmin": 0,
    "s_tmax": 999,
    "s_noise": 1,
    "eta": 1,
    "order": 4,
    "discretization": "EDMDiscretization",
    "sigma_min": 0.002,
    "sigma_max": 700,
    "rho": 7,
    "guider": "LinearPredictionGuider",
    "saving_fps": None,
    "watermark": True,
}


def refusal(name: str, value: object) -> str:
    """Return the message for an invalid value."""
    with pytest.raises(BadInput) as caught:
        make_settings({name: value})
    return str(caught.value)


def inside(name: str) -> st.SearchStrategy[float]:
    """Return valid values of a number."""
    about = ABOUT[name]
    if name in WHOLE:
        return st.integers(int(about.lowest), int(about.highest))
    return st.floats(about.lowest, about.highest)


def outside(name: str) -> st.SearchStrategy[float]:
    """Return invalid numbers, near the limits and far from them."""
    about = ABOUT[name]
    low, high = about.lowest, about.highest
    if name in WHOLE:
        between = st.floats(low, high).filter(lambda value: not value.is_integer())
        return st.integers(max_value=int(low) - 1) | st.integers(min_value=int(high) + 1) | between
    return st.floats(max_value=low, exclude_max=True) | st.floats(min_value=high, exclude_min=True)


def test_every_control_is_a_number_a_choice_a_switch_or_the_version() -> None:
    assert sorted([*NUMBERS, *CHOICES, *ANGLES, "sigmas", "version", "watermark"]) == sorted(FIELDS)


def test_the_defaults_are_the_reference_demos() -> None:
    settings = SampleSettings().model_dump()
    assert {name: settings[name] for name in REFERENCE_DEFAULTS} == REFERENCE_DEFAULTS


@pytest.mark.parametrize("name", FIELDS)
def test_a_control_has_a_label_a_help_text_and_a_default_that_it_takes(name: str) -> None:
    field = FIELDS[name]
    assert field.title
    assert field.description is not None
    assert field.description.endswith(".") or name == "fitting"
    assert getattr(make_settings({name: field.default}), name) == field.default


@pytest.mark.parametrize("name", NUMBERS)
def test_the_step_of_a_number_fits_its_range_and_a_trained_range_has_a_warning(name: str) -> None:
    about = ABOUT[name]
    assert 0 < about.step <= about.highest - about.lowest
    assert name not in WHOLE or about.step == 1
    assert (about.trained is None) is (about.outside == "")
    assert about.trained is None or about.lowest <= about.trained[0] < about.trained[1] <= about.highest


def test_the_network_is_conditioned_on_the_settings_that_have_an_input_key() -> None:
    from img2vid.engine import ConditioningSettings

    assert {name: ABOUT[name].input_key for name in CONDITIONING} == {
        **{"fps": "fps_id", "motion_bucket_id": "motion_bucket_id", "cond_aug": "cond_aug"}
    }
    angles = {"polars_rad", "azimuths_rad"}
    assert {field.name for field in fields(ConditioningSettings)} == {*CONDITIONING, "num_frames", *angles}


@pytest.mark.parametrize("name", NUMBERS)
def test_a_number_has_both_limits_and_says_them(name: str) -> None:
    about = ABOUT[name]
    assert about.lowest < about.highest
    words = ["a whole number" if name in WHOLE else "a number", f"from {about.lowest:.15g} to {about.highest:.15g}"]
    assert requirement(name) == " ".join([*words, f"({ABOUT[name].unit})"] if ABOUT[name].unit else words)


@pytest.mark.parametrize("name", NUMBERS)
@given(data=st.data())
def test_a_number_within_the_limits_is_taken_as_it_is_or_as_text(name: str, data: st.DataObject) -> None:
    value = data.draw(inside(name))
    lowest = {name: ABOUT[name].lowest for name in ("sigma_min", "guidance_sigma_min")}
    others = {"num_samples": 1, **lowest, "sigma_max": ABOUT["sigma_max"].highest}
    for given_value in (value, repr(value)):
        assert getattr(make_settings({**others, name: given_value}), name) == value


@pytest.mark.parametrize("name", NUMBERS)
@given(data=st.data())
def test_a_number_outside_the_limits_is_refused_with_what_would_do(name: str, data: st.DataObject) -> None:
    value = data.draw(outside(name))
    assert refusal(name, value) == f"{name} must be {requirement(name)}, got {value!r}"


@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_number_is_refused_with_what_would_do(name: str) -> None:
    for value in (*WRONG_TYPES, True, False):
        if value is None and name == "saving_fps":
            continue
        assert refusal(name, value) == f"{name} must be {requirement(name)}, got {value!r}"


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_takes_its_names_alone(name: str) -> None:
    choices = get_args(FIELDS[name].annotation)
    for choice in choices:
        assert getattr(make_settings({name: choice}), name) == choice
    for value in (*WRONG_TYPES, True, 0, choices[0].upper() + " "):
        assert refusal(name, value) == f"{name} must be one of {', '.join(choices)}, got {value!r}"


@pytest.mark.parametrize("name", ANGLES)
def test_angles_are_numbers_in_text_or_a_list(name: str) -> None:
    for given_value in ("1 -2.5 90", "1, -2.5,\n90\n", [1, -2.5, 90], (1, "-2.5", 9e1)):
        assert getattr(make_settings({name: given_value}), name) == "1 -2.5 90"
    low, high = ABOUT[name].numbers or (0, 0)
    for value in ("1 x", [high + 1], [low - 1], [math.nan], {}, None, 5, [None], [[]]):
        assert refusal(name, value) == f"{name} must be {requirement(name)}, got {value!r}"


@given(st.lists(st.floats(-90, 90), min_size=1, max_size=64))
def test_the_last_of_given_views_is_the_inputs(angles: list[float]) -> None:
    settings = make_settings({"num_frames": len(angles), "elevations": angles, "azimuths": angles})
    assert settings.orbit.elevations == pytest.approx(tuple(angles), rel=1e-12)
    assert settings.orbit.azimuths[-1] == 0
    assert settings.orbit.azimuths == pytest.approx([(a - angles[-1]) % 360 for a in angles], abs=1e-9)
    assert make_settings(settings.model_dump()) == settings


def test_the_orbit_follows_its_settings() -> None:
    assert make_settings({"num_frames": 21}).orbit == level(21, 5)
    chosen = {"num_frames": 21, "elevation": 20, "trajectory": "dynamic", "seed": 4}
    assert make_settings(chosen).orbit == dynamic(21, 20, 4)
    low = make_settings({**chosen, "elevations": [10] * 21}).orbit
    assert low == Orbit((10.0,) * 21, level(21, 0).azimuths)
    turned = make_settings({**chosen, "azimuths": [*range(21)]}).orbit
    assert (turned.elevations, turned.azimuths[0], turned.azimuths[-1]) == ((20.0,) * 21, 340, 0)


def test_a_switch_and_a_name_refuse_other_kinds_of_values() -> None:
    for value in (None, "perhaps", 2, 0.5, [], math.nan):
        assert refusal("watermark", value) == f"watermark must be true or false, got {value!r}"
    for value in (None, 7, True, ["svd"]):
        assert refusal("version", value) == f"version must be a name, got {value!r}"


@given(st.text(min_size=1).filter(lambda name: name not in FIELDS))
def test_an_unknown_name_is_refused_with_the_names_that_there_are(name: str) -> None:
    said = refusal(name, 1)
    assert said == f"there is no setting {name!r}; the settings are {', '.join(FIELDS)}"


def test_the_noise_levels_must_not_be_the_wrong_way_round() -> None:
    with pytest.raises(BadInput, match=r"^sigma_min must not be above sigma_max, got 5\.0 and 4\.0$"):
        make_settings({"sigma_min": 5, "sigma_max": 4})
    assert make_settings({"sigma_min": 5, "sigma_max": 5}).sigma_max == 5


def test_the_interval_of_guidance_must_not_be_the_wrong_way_round() -> None:
    with pytest.raises(BadInput, match=r"^guidance_sigma_min must not be above guidance_sigma_max, got 5\.0 and 4\.0$"):
        make_settings({"guidance_sigma_min": 5, "guidance_sigma_max": 4})
    assert make_settings({"guidance_sigma_min": 5, "guidance_sigma_max": 5}).guidance_sigma_max == 5


def test_the_approximations_are_off_by_default_and_named_where_they_are_on() -> None:
    assert approximated(SampleSettings().model_dump()) == []
    assert approximated({**SampleSettings().model_dump(), "block_cache": 2, "fps": 9}) == ["block_cache"]
    assert approximated(OTHER_VALUES) == list(APPROXIMATIONS)


def test_settings_from_before_the_approximations_are_read_with_all_of_them_off() -> None:
    before = {name: value for name, value in OTHER_VALUES.items() if name not in APPROXIMATIONS}
    assert approximated(make_settings(before).model_dump()) == []
    assert approximated(settings_from_text(json.dumps(before)).model_dump()) == []


def test_the_engine_gets_the_approximations_and_no_limit_for_the_highest_one() -> None:
    """Churn raises the first noise level above sigma_max, which may be as high as guidance_sigma_max."""
    from img2vid.engine import SamplerSettings
    from img2vid.pipeline import sampler_settings

    exact, usual = sampler_settings(SampleSettings()), SamplerSettings()
    assert all(getattr(exact, name) == getattr(usual, name) for name in APPROXIMATIONS)
    handed_over = sampler_settings(SampleSettings(**OTHER_VALUES))
    assert all(getattr(handed_over, name) == OTHER_VALUES[name] for name in APPROXIMATIONS)


def test_an_engine_without_approximations_is_refused_before_running() -> None:
    check_provider(SampleSettings(), "sgm")
    for provider in ("auto", "native"):
        check_provider(SampleSettings(**OTHER_VALUES), provider)
    sentence = (
        "^the sgm engine has no approximations, got block_cache 3; "
        "leave them at their defaults or choose the native engine$"
    )
    with pytest.raises(BadInput, match=sentence):
        check_provider(SampleSettings(block_cache=3), "sgm")


@pytest.mark.parametrize("name", MISSING_IN_SGM)
def test_what_sgm_lacks_is_refused_before_running(name: str) -> None:
    settings = make_settings({"sampler" if name in SAMPLERS else "discretization": name})
    check_provider(settings, "native")
    with pytest.raises(BadInput, match=f"^the sgm engine has no {name}; choose another one or the native engine$"):
        check_provider(settings, "sgm")


def test_more_steps_than_a_consistency_model_knows_are_refused() -> None:
    make_settings({"discretization": "ConsistencyDiscretization", "num_steps": 40})
    with pytest.raises(BadInput, match=r"^num_steps must be at most 40 for ConsistencyDiscretization, got 41$"):
        make_settings({"discretization": "ConsistencyDiscretization", "num_steps": 41})


@pytest.mark.parametrize("guider", GUIDERS)
@pytest.mark.parametrize("scale", [0.0, 1.0, 2.5])
def test_guidance_is_off_if_every_scale_is_1(guider: str, scale: float) -> None:
    settings = SampleSettings(**{"guider": guider, "scale": scale, "max_scale": scale, "min_scale": 1.0})
    assert settings.is_guided == (guider != "IdentityGuider" and scale != 1)


@pytest.mark.parametrize("rho", [0.5, 100])
@pytest.mark.parametrize(("sigma_min", "sigma_max"), [(1e-4, 1e-4), (1e-4, 1e6), (1e6, 1e6)])
def test_noise_levels_at_the_limits_can_be_computed_with(rho: float, sigma_min: float, sigma_max: float) -> None:
    """Regression: a rho near zero was accepted, and sigma_max ** (1 / rho) overflowed."""
    from img2vid.engine.sampling.discretization import edm_sigmas

    settings = make_settings({"rho": rho, "sigma_min": sigma_min, "sigma_max": sigma_max})
    assert {rho, sigma_min, sigma_max} <= {
        limit for name in ("rho", "sigma_min") for limit in (ABOUT[name].lowest, ABOUT[name].highest)
    }
    sigmas = edm_sigmas(5, **settings.params_of("EDMDiscretization"))
    assert all(math.isfinite(sigma) for sigma in sigmas.tolist())


def test_the_last_of_several_samples_has_a_seed_too() -> None:
    """Three samples from the highest seed on would use seeds that are not valid settings."""
    with pytest.raises(BadInput, match=rf"^seed must be at most {MAX_SEED - 2} for 3 samples, got {MAX_SEED}$"):
        make_settings({"seed": MAX_SEED, "num_samples": 3})
    assert make_settings({"seed": MAX_SEED - 2, "num_samples": 3}).seed == MAX_SEED - 2


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        SampleSettings().seed = 1  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize(("values", "fps"), [({"fps": 9}, 9), ({"fps": 9, "saving_fps": 7.5}, 7.5)])
def test_the_file_has_the_models_frame_rate_by_default(values: dict[str, Any], fps: float) -> None:
    assert make_settings(values).file_fps == fps


def test_every_choice_has_its_parameters_and_nothing_else_has() -> None:
    assert list(PARAMS) == [*SAMPLERS, *DISCRETIZATIONS, *GUIDERS]
    assert all(name in FIELDS for names in PARAMS.values() for name in names)


@pytest.mark.parametrize(("sampler", "discretization", "guider"), list(product(SAMPLERS, DISCRETIZATIONS, GUIDERS)))
def test_the_engine_takes_the_parameters_of_every_choice(sampler: str, discretization: str, guider: str) -> None:
    from img2vid.engine.sampling.validation import check_sampler_settings
    from img2vid.pipeline import sampler_settings

    settings = make_settings({"sampler": sampler, "discretization": discretization, "guider": guider, "num_steps": 7})
    handed_over = sampler_settings(settings)
    check_sampler_settings(handed_over)
    assert handed_over.num_steps == 7
    for choice, params in (
        (sampler, handed_over.sampler_params),
        (discretization, handed_over.discretization_params),
        (guider, handed_over.guider_params),
    ):
        assert params == {name: getattr(settings, name) for name in PARAMS[choice]}


def test_the_choices_are_those_of_the_engine() -> None:
    from img2vid.engine.sampling.discretization import DISCRETIZATIONS as ENGINE_DISCRETIZATIONS
    from img2vid.engine.sampling.guiders import GUIDERS as ENGINE_GUIDERS
    from img2vid.engine.sampling.samplers import SAMPLERS as ENGINE_SAMPLERS

    assert {*SAMPLERS} == {*ENGINE_SAMPLERS}
    assert {*DISCRETIZATIONS} == {*ENGINE_DISCRETIZATIONS}
    assert {*GUIDERS} == {*ENGINE_GUIDERS}


# Settings from elsewhere


@settings(max_examples=2000)
@given(metadata=METADATA, newer=st.booleans())
def test_settings_from_elsewhere_are_valid_or_bad_input(metadata: object, newer: bool) -> None:
    try:
        found = read_settings(metadata, "it", newer=newer)
    except BadInput as error:
        assert 0 < len(str(error)) < 2000
    else:
        assert SampleSettings(**found).version == found["version"]


def test_settings_of_a_newer_version_are_read_without_the_ones_that_are_unknown_here() -> None:
    metadata = {"settings": {"version": "svd_new", "seed": 7, "warp": 3}}
    assert read_settings(metadata, "it", newer=True) == {"version": "svd_new", "seed": 7}
    with pytest.raises(BadInput, match="there is no setting 'warp'"):
        read_settings(metadata, "it")


def test_values_that_no_json_holds_are_bad_input() -> None:
    endless: dict[str, Any] = {"version": "svd"}
    endless["seed"] = endless
    for wrong in (endless, {"version": "svd", 1: 2}, {"version": "svd", "seed": object()}):
        with pytest.raises(BadInput):
            read_settings({"settings": wrong}, "it")


@pytest.mark.parametrize("sigmas", ["", "700", "700 1 1", "1 2 700"])
def test_a_list_of_noise_levels_must_fall(sigmas: str) -> None:
    given = {"discretization": "ListDiscretization"}
    assert make_settings({**given, "sigmas": "700,1 0.5"}).params_of("ListDiscretization") == {"sigmas": "700 1 0.5"}
    make_settings({"sigmas": sigmas})  # unused
    with pytest.raises(BadInput, match=f"^sigmas must be at least two falling numbers, got {sigmas or 'none'}$"):
        make_settings({**given, "sigmas": sigmas})
