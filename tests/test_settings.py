"""Settings: defaults, limits, labels, and messages for invalid values."""

import json
import math
from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from other_settings import OTHER_VALUES

from img2vid.errors import BadInput
from img2vid.jobs.job import settings_from_text
from img2vid.settings import (
    APPROXIMATIONS,
    MAX_SEED,
    PARAMS,
    Discretization,
    Guider,
    Sampler,
    SampleSettings,
    approximated,
    check_provider,
    limits_of,
    make_settings,
    requirement,
    unit_of,
)

FIELDS = SampleSettings.model_fields
SAMPLERS, DISCRETIZATIONS, GUIDERS = get_args(Sampler), get_args(Discretization), get_args(Guider)
NUMBERS = [name for name in FIELDS if limits_of(name)]
WHOLE = [name for name in NUMBERS if FIELDS[name].annotation is int]
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
    limits = limits_of(name)
    if name in WHOLE:
        return st.integers(int(limits["ge"]), int(limits["le"]))
    return st.floats(limits["ge"], limits["le"])


def outside(name: str) -> st.SearchStrategy[float]:
    """Return invalid numbers, near the limits and far from them."""
    limits = limits_of(name)
    low, high = limits["ge"], limits["le"]
    if name in WHOLE:
        between = st.floats(low, high).filter(lambda value: not value.is_integer())
        return st.integers(max_value=int(low) - 1) | st.integers(min_value=int(high) + 1) | between
    return st.floats(max_value=low, exclude_max=True) | st.floats(min_value=high, exclude_min=True)


def test_every_control_is_a_number_a_choice_a_switch_or_the_version() -> None:
    assert sorted([*NUMBERS, *CHOICES, "version", "watermark"]) == sorted(FIELDS)


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
def test_a_number_has_both_limits_and_says_them(name: str) -> None:
    limits = limits_of(name)
    assert limits.keys() == {"ge", "le"}
    words = ["a whole number" if name in WHOLE else "a number", f"from {limits['ge']:.15g} to {limits['le']:.15g}"]
    assert requirement(name) == " ".join([*words, f"({unit_of(name)})"] if unit_of(name) else words)


@pytest.mark.parametrize("name", NUMBERS)
@given(data=st.data())
def test_a_number_within_the_limits_is_taken_as_it_is_or_as_text(name: str, data: st.DataObject) -> None:
    value = data.draw(inside(name))
    lowest = {name: limits_of(name)["ge"] for name in ("sigma_min", "guidance_sigma_min")}
    others = {"num_samples": 1, **lowest, "sigma_max": limits_of("sigma_max")["le"]}
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


def test_an_engine_without_approximations_is_told_apart_before_anything_runs() -> None:
    check_provider(SampleSettings(), "sgm")
    for provider in ("auto", "native"):
        check_provider(SampleSettings(**OTHER_VALUES), provider)
    sentence = (
        "^the sgm engine has no approximations, got block_cache 3; "
        "leave them at their defaults or choose the native engine$"
    )
    with pytest.raises(BadInput, match=sentence):
        check_provider(SampleSettings(block_cache=3), "sgm")


@pytest.mark.parametrize("rho", [0.5, 100])
@pytest.mark.parametrize(("sigma_min", "sigma_max"), [(1e-4, 1e-4), (1e-4, 1e6), (1e6, 1e6)])
def test_noise_levels_at_the_limits_can_be_computed_with(rho: float, sigma_min: float, sigma_max: float) -> None:
    """Regression: a rho near zero was accepted, and sigma_max ** (1 / rho) overflowed."""
    from img2vid.engine.sampling.discretization import edm_sigmas

    settings = make_settings({"rho": rho, "sigma_min": sigma_min, "sigma_max": sigma_max})
    assert {rho, sigma_min, sigma_max} <= {*limits_of("rho").values(), *limits_of("sigma_min").values()}
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
def test_the_file_runs_at_the_models_frame_rate_unless_told_otherwise(values: dict[str, Any], fps: float) -> None:
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
