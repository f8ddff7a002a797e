"""Exported workflows: both forms say the same, and reading them gives the settings back."""

import json
from dataclasses import replace
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workflows import plain

from img2vid.comfyui.export import OWN, can_export, export_workflow
from img2vid.comfyui.graph import read_graph
from img2vid.comfyui.nodes import GUIDANCE_NODES, SAMPLERS
from img2vid.comfyui.prompt import Prompt
from img2vid.comfyui.read import read_workflow
from img2vid.errors import BadInput
from img2vid.settings import PARAMS, SCALES, Discretization, Guider, Sampler, SampleSettings, used_settings
from img2vid.versions import find_version, load_versions

VERSIONS = [name for name, version in load_versions().items() if version.orbit is None]


def number(low: float, high: float) -> st.SearchStrategy[float]:
    return st.floats(low, high).map(lambda value: round(value, 4))


SHARED: dict[str, st.SearchStrategy[Any]] = {
    "version": st.sampled_from(["svd", "svd_xt", "svd_xt_1_1"]),
    "height": st.integers(1, 32).map(lambda value: value * 64),
    "width": st.integers(1, 32).map(lambda value: value * 64),
    "num_frames": st.integers(1, 128),
    "fps": st.integers(1, 1000),
    "motion_bucket_id": st.integers(1, 511),
    "cond_aug": number(0, 10),
    "seed": st.integers(0, 2**32 - 1),
    "num_steps": st.integers(1, 40),
    "sampler": st.sampled_from(list(SAMPLERS)),
    "s_noise": number(0, 10),
    "eta": number(0, 10),
    "order": st.integers(1, 10),
    "discretization": st.sampled_from(["EDMDiscretization", "AYSDiscretization"]),
    "sigma_min": number(0.001, 10),
    "sigma_max": number(10, 5000),
    "rho": number(0.5, 100),
    "guider": st.sampled_from([name for name in PARAMS if name.endswith(("Guider", "CFG"))]),
    **dict.fromkeys(SCALES, number(0, 100)),
    "saving_fps": st.none() | number(1, 1000),
}
"""Settings that ComfyUI has counterparts for."""
OTHERS: dict[str, st.SearchStrategy[Any]] = {
    "sampler": st.sampled_from([*SAMPLERS, "UniPCSampler"]),
    "version": st.sampled_from(VERSIONS),
    "fitting": st.sampled_from(["crop", "fit", "object"]),
    "crop_offset": number(0, 1),
    "motion_bucket_id": st.integers(0, 511),
    "s_churn": number(0, 100),
    "period": number(0.01, 10),
    "block_cache": st.integers(1, 5),
    "decode_t": st.integers(1, 30),
    "discretization": st.sampled_from(get_args(Discretization)),
    "sigmas": st.just("700 5 0.1"),
    "sigma_max": number(10, 10_000),
    "watermark": st.booleans(),
}


@settings(max_examples=100, deadline=None)
@given(st.fixed_dictionaries({}, optional={**SHARED, **OTHERS}))
def test_reading_an_export_gives_all_settings_back(values: dict[str, Any]) -> None:
    version = find_version(values.get("version", "svd"))
    sizes = {name: values[name] // 64 * version.size_step for name in ("height", "width") if name in values}
    given = version.settings({**values, **{name: max(side, 64) for name, side in sizes.items()}})
    export = export_workflow(given, "dogs.png")
    for tree in (export.api, export.page, {"prompt": plain(export.api), "extra": export.page["extra"]}):
        workflow = read_workflow(json.loads(json.dumps(tree)), "a.json")
        assert (workflow.settings, workflow.left_out) == (given.model_dump(), ())


@settings(max_examples=100, deadline=None)
@given(st.fixed_dictionaries(SHARED))
def test_comfyuis_values_alone_give_the_settings_that_are_used(values: dict[str, Any]) -> None:
    """Guidance of 1 and no guidance are the same, and so are the fps of the model and of the file by default."""
    given = find_version(values["version"]).settings(values)
    export = export_workflow(given, "dogs.png")
    workflow = read_workflow(plain(export.api), "a.json")
    of_guidance = given.guider.endswith("PredictionGuider") and given.max_scale == 1 != given.min_scale
    assert (len(export.left_out), len(workflow.left_out)) == ((1, 1) if of_guidance else (0, 0))
    read = SampleSettings(**workflow.settings)
    expected = given.model_dump() | {"saving_fps": read.saving_fps}
    if given.guider == "VanillaCFG" and given.scale == 1:
        expected["guider"] = "IdentityGuider"
    unused = {"s_churn", "s_tmin", "s_tmax"}
    unused |= set() if "eta" in PARAMS[given.sampler] else {"s_noise"}
    names = [name for name in used_settings(expected) if name not in unused]
    assert {name: workflow.settings[name] for name in names} == {name: expected[name] for name in names}
    assert read.file_fps == given.file_fps


WORDS = st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "Zs")), min_size=1, max_size=60)
PROMPTS = st.builds(
    Prompt,
    prompt=WORDS,
    negative=st.just("") | WORDS,
    seed=st.integers(0, 2**32 - 1),
    steps=st.integers(1, 150),
    cfg=number(1, 30),
    width=st.integers(8, 256).map(lambda value: value * 8),
    height=st.integers(8, 256).map(lambda value: value * 8),
    model=st.just("sd_xl_base_1.0.safetensors"),
    sampler=st.sampled_from(["euler", "euler_ancestral"]),
    scheduler=st.sampled_from(["ddim_uniform", "sgm_uniform"]),
)


@settings(max_examples=100, deadline=None)
@given(PROMPTS, st.fixed_dictionaries(SHARED))
def test_a_prompt_comes_back_with_the_settings_of_its_video(prompt: Prompt, values: dict[str, Any]) -> None:
    given = find_version(values["version"]).settings(values)
    export = export_workflow(given, prompt)
    for tree in (export.api, export.page, {"prompt": plain(export.api), "extra": export.page["extra"]}):
        workflow = read_workflow(json.loads(json.dumps(tree)), "a.json")
        assert (workflow.settings, workflow.prompt, workflow.left_out) == (given.model_dump(), prompt, ())
    api, page = read_graph(export.api, "api"), read_graph(export.page, "page")
    assert {key: (node.kind, node.inputs) for key, node in api.items()} == {
        key: (node.kind, node.inputs) for key, node in page.items()
    }


def test_the_pages_nodes_follow_their_inputs() -> None:
    export = export_workflow(find_version("svd").settings({}), Prompt("a dog", steps=30, width=64, height=64))
    left = {row["id"]: row["pos"][0] for row in export.page["nodes"]}
    assert all(left[origin] < left[target] for _, origin, _, target, *_ in export.page["links"])
    places = [tuple(row["pos"]) for row in export.page["nodes"]]
    assert len({*places}) == len(places)


def test_steps_that_comfyui_rounds_are_named() -> None:
    prompt = Prompt("a dog", steps=30, cfg=5.0, width=64, height=64, sampler="euler", scheduler="ddim_uniform")
    given = find_version("svd").settings({})
    assert export_workflow(given, prompt).left_out == ("30 steps of the image (ComfyUI takes 31)",)
    for other in (replace(prompt, steps=25), replace(prompt, scheduler="sgm_uniform")):
        assert not export_workflow(given, other).left_out


@settings(max_examples=100, deadline=None)
@given(st.fixed_dictionaries(SHARED))
def test_both_forms_say_the_same(values: dict[str, Any]) -> None:
    export = export_workflow(find_version(values["version"]).settings(values), "dogs.png")
    api, page = read_graph(export.api, "api"), read_graph(export.page, "page")
    assert api.keys() == page.keys()
    for key, node in api.items():
        shown = {name: value for name, value in page[key].inputs.items() if name != "upload"}
        assert (node.kind, node.inputs) == (page[key].kind, shown)


def test_a_value_changed_in_comfyui_wins_over_the_carried_settings() -> None:
    given = find_version("svd").settings({"decode_t": 3, "block_cache": 2, "num_steps": 12})
    tree = export_workflow(given, "dogs.png").page
    sampler = next(row for row in tree["nodes"] if row["type"] == "KSampler")
    sampler["widgets_values"][2], sampler["widgets_values"][4] = 33, "uni_pc"
    workflow = read_workflow(tree, "a.json")
    assert workflow.settings == given.model_copy(update={"num_steps": 33}).model_dump()
    assert workflow.left_out == ("sampler uni_pc",)


@pytest.mark.parametrize(
    "carried", [{"settings": {"version": "none"}}, {"settings": {"version": "sv3d_u"}}, {"settings": 5}, 7]
)
def test_carried_settings_that_are_not_valid_are_ignored(carried: Any) -> None:
    tree = export_workflow(find_version("svd").settings({"num_steps": 12, "decode_t": 3}), "dogs.png").page
    tree["extra"][OWN] = carried
    assert read_workflow(tree, "a.json").settings["num_steps"] == 12
    assert read_workflow(tree, "a.json").settings["decode_t"] == 14


def test_what_comfyui_cannot_do_is_named() -> None:
    values = {
        "s_churn": 2.0,
        "block_cache": 3,
        "fitting": "fit",
        "motion_bucket_id": 0,
        "discretization": "LegacyDDPMDiscretization",
    }
    export = export_workflow(find_version("svd_xt_animatelcm").settings({**values, "sampler": "HeunEDMSampler"}), "a")
    assert export.notice == (
        "Without a counterpart in ComfyUI: LegacyDDPMDiscretization, the UNet AnimateLCM-SVD-xt.safetensors, "
        "block_cache 3, motion_bucket_id 0, s_churn 2, fitting fit."
    )
    assert "svd_tiny" in export_workflow(find_version("svd_tiny").settings({}), "a").notice


def test_every_sampler_and_guider_has_a_name_in_comfyui() -> None:
    assert {*SAMPLERS, "UniPCSampler"} == {*get_args(Sampler)}
    assert {"VanillaCFG", "IdentityGuider", *GUIDANCE_NODES} == {*get_args(Guider)}


def test_views_around_an_object_are_refused() -> None:
    given = find_version("sv3d_p").settings({})
    assert not can_export(given) and not can_export(SampleSettings(version="none"))
    with pytest.raises(BadInput, match="sv3d_p cannot be exported"):
        export_workflow(given, "a")
