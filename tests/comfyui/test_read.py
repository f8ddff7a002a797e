"""Settings read from ComfyUI's workflows, and what is left out."""

import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from workflows import changed, image_to_video, named, node, text_to_video

from img2vid.comfyui.prompt import Prompt
from img2vid.comfyui.read import read_workflow
from img2vid.errors import BadInput
from img2vid.settings import SampleSettings
from img2vid.versions import find_version

SEED = 237514639057514
SEED_LEFT_OUT = "seed 237514639057514 (now 2947588714)"
PUBLIC = {
    "version": "svd",
    "fps": 6,
    "saving_fps": 10.0,
    "cond_aug": 0.0,
    "num_steps": 20,
    "seed": SEED % 2**32,
    "guider": "LinearPredictionGuider",
    "max_scale": 2.5,
    "min_scale": 1.0,
}


def differing(values: dict[str, Any], version: str) -> dict[str, Any]:
    """Return the values that differ from a version's defaults, and the version."""
    usual = find_version(version).settings({}).model_dump()
    return {name: value for name, value in values.items() if value != usual[name]}


def test_every_value_of_the_public_example_of_a_picture() -> None:
    workflow = read_workflow(image_to_video(), "a.json")
    expected = find_version("svd").settings(PUBLIC).model_dump()
    assert (workflow.settings, workflow.prompt, workflow.left_out) == (expected, None, (SEED_LEFT_OUT,))
    assert workflow.notice == f"Without a counterpart here: {SEED_LEFT_OUT}."


def test_every_value_of_the_public_example_of_words() -> None:
    workflow = read_workflow(text_to_video(), "a.json")
    expected = find_version("svd_xt").settings({**PUBLIC, "version": "svd_xt", "num_frames": 25}).model_dump()
    assert workflow.settings == expected
    assert workflow.prompt == Prompt(
        prompt="photograph beautiful scenery nature mountains alps river rapids snow sky cumulus clouds",
        negative="text, watermark",
        seed=144698910769133,
        steps=15,
        cfg=8.0,
        width=1024,
        height=576,
        model="sd_xl_1.0.safetensors",
        sampler="uni_pc_bh2",
        scheduler="normal",
    )
    assert workflow.left_out == (SEED_LEFT_OUT,)


def test_values_of_a_prompt_from_primitives() -> None:
    tree = text_to_video()
    tree["nodes"] += [node(50, "PrimitiveInt", [77], {}), node(51, "PrimitiveString", ["a dog"], {})]
    tree["links"] += [[70, 50, 0, 17, 4, "INT"], [71, 51, 0, 18, 1, "STRING"]]
    for number, name, link in ((17, "seed", 70), (18, "text", 71)):
        row = next(row for row in tree["nodes"] if row["id"] == number)
        row["inputs"].append({"name": name, "type": "INT", "link": link})
    workflow = read_workflow(tree, "a.json")
    assert workflow.prompt is not None
    assert (workflow.prompt.seed, workflow.prompt.prompt, workflow.left_out) == (77, "a dog", (SEED_LEFT_OUT,))


NAMES = {
    "heun": "HeunEDMSampler",
    "dpmpp_2m": "DPMPP2MSampler",
    "lms": "LinearMultistepSampler",
    "euler_ancestral": "EulerAncestralSampler",
    "dpmpp_2s_ancestral": "DPMPP2SAncestralSampler",
    "lcm": "ConsistencySampler",
    "dpmpp_2m_sde": "DPMPP2MSDESampler",
    "dpmpp_2m_sde_gpu": "DPMPP2MSDESampler",
    "ddim": "EulerEDMSampler",
}


@pytest.mark.parametrize("name", list(NAMES))
def test_samplers(name: str) -> None:
    workflow = read_workflow(changed(image_to_video(), "KSampler", 4, name), "a.json")
    assert (workflow.settings["sampler"], workflow.left_out) == (NAMES[name], (SEED_LEFT_OUT,))


CHANGES = {
    "sampler": ("KSampler", 4, "uni_pc", "sampler uni_pc"),
    "scheduler": ("KSampler", 5, "normal", "scheduler normal"),
    "denoise": ("KSampler", 6, 0.5, "denoise 0.5"),
    "model": ("ImageOnlyCheckpointLoader", 0, "mine.safetensors", "model mine.safetensors (now svd)"),
    "width": ("SVD_img2vid_Conditioning", 0, 1000, "width 1000 (now 1024)"),
    "frames": ("SVD_img2vid_Conditioning", 2, 4096, "video_frames 4096 (now 128)"),
    "bucket": ("SVD_img2vid_Conditioning", 3, 1023, "motion_bucket_id 1023 (now 511)"),
    "text": ("SVD_img2vid_Conditioning", 3, "many", "motion_bucket_id many"),
    "huge": ("SVD_img2vid_Conditioning", 3, 10**400, f"motion_bucket_id 1{'0' * 196}"),
}


@pytest.mark.parametrize("case", list(CHANGES))
def test_what_has_no_counterpart_is_named(case: str) -> None:
    kind, at, value, expected = CHANGES[case]
    workflow = read_workflow(changed(image_to_video(), kind, at, value), "a.json")
    assert [one for one in workflow.left_out if one.startswith(expected)]
    SampleSettings(**workflow.settings)


def test_a_model_in_a_folder_is_found() -> None:
    for name in ("video/SVD_XT.safetensors", "video\\svd_xt.safetensors"):
        tree = changed(image_to_video(), "ImageOnlyCheckpointLoader", 0, name)
        assert read_workflow(tree, "a.json").settings["version"] == "svd_xt"


def without_guidance(cfg: float) -> dict[str, Any]:
    """Return a workflow without a node for guidance."""
    tree = changed(image_to_video(), "KSampler", 3, cfg)
    named(tree, "VideoLinearCFGGuidance")["mode"] = 4
    return tree


def test_guidance() -> None:
    bypassed = read_workflow(without_guidance(3.5), "a.json").settings
    assert (bypassed["guider"], bypassed["scale"]) == ("VanillaCFG", 3.5)
    assert read_workflow(without_guidance(1), "a.json").settings["guider"] == "IdentityGuider"
    tree = image_to_video()
    named(tree, "VideoLinearCFGGuidance")["type"] = "VideoTriangleCFGGuidance"
    assert read_workflow(tree, "a.json").settings["guider"] == "TrianglePredictionGuider"


def test_links_through_reroutes_primitives_and_muted_nodes() -> None:
    tree = image_to_video()
    tree["nodes"] += [
        node(30, "Reroute", [], {"": (23, "MODEL")}),
        node(31, "PrimitiveNode", [99, "fixed"], {}),
        node(32, "PrimitiveInt", [30], {}),
        node(33, "SVD_img2vid_Conditioning", [512, 512, 8, 1, 1, 1], {}, mode=2),
    ]
    tree["links"] += [[50, 30, 0, 14, 0, "MODEL"], [51, 31, 0, 12, 3, "INT"], [52, 32, 0, 3, 4, "INT"]]
    named(tree, "VideoLinearCFGGuidance")["inputs"][0]["link"] = 50
    named(tree, "SVD_img2vid_Conditioning")["inputs"].append({"name": "motion_bucket_id", "type": "INT", "link": 51})
    named(tree, "KSampler")["inputs"].append({"name": "steps", "type": "INT", "link": 52})
    workflow = read_workflow(tree, "a.json")
    expected = find_version("svd").settings({**PUBLIC, "motion_bucket_id": 99, "num_steps": 30})
    assert (workflow.settings, workflow.left_out) == (expected.model_dump(), (SEED_LEFT_OUT,))


def test_newer_links_and_older_widgets() -> None:
    tree = image_to_video()
    keys = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")
    tree["links"] = [dict(zip(keys, link, strict=True)) for link in tree["links"]]
    del named(tree, "KSampler")["widgets_values"][1]  # no control of the seed
    assert read_workflow(tree, "a.json").settings == read_workflow(image_to_video(), "a.json").settings


def test_nodes_that_change_the_result_are_named() -> None:
    tree = image_to_video()
    tree["nodes"].append(node(40, "FreeU_V2", [1, 1, 1, 1], {"model": (23, "MODEL")}))
    tree["links"].append([60, 40, 0, 14, 0, "MODEL"])
    named(tree, "VideoLinearCFGGuidance")["inputs"][0]["link"] = 60
    assert read_workflow(tree, "a.json").left_out == (SEED_LEFT_OUT, "the node FreeU_V2")


def test_an_advanced_sampler_with_noise_levels_of_its_own() -> None:
    api = {
        "1": {"class_type": "ImageOnlyCheckpointLoader", "inputs": {"ckpt_name": "svd_xt.safetensors"}},
        "2": {
            "class_type": "SVD_img2vid_Conditioning",
            "inputs": {
                "clip_vision": ["1", 1],
                "video_frames": 25,
                "fps": 6,
                "augmentation_level": 0.02,
                "motion_bucket_id": 127,
            },
        },
        "3": {
            "class_type": "ModelSamplingContinuousEDM",
            "inputs": {"model": ["1", 0], "sampling": "v_prediction", "sigma_min": 0.01, "sigma_max": 300},
        },
        "4": {
            "class_type": "CFGGuider",
            "inputs": {"model": ["3", 0], "positive": ["2", 0], "negative": ["2", 1], "cfg": 2},
        },
        "5": {"class_type": "RandomNoise", "inputs": {"noise_seed": 5}},
        "6": {"class_type": "SamplerLMS", "inputs": {"order": 2}},
        "7": {"class_type": "BasicScheduler", "inputs": {"model": ["3", 0], "scheduler": "karras", "steps": 12}},
        "8": {
            "class_type": "SamplerCustomAdvanced",
            "inputs": {"noise": ["5", 0], "guider": ["4", 0], "sampler": ["6", 0], "sigmas": ["7", 0]},
        },
    }
    workflow = read_workflow({"prompt": api}, "a.json")
    assert workflow.left_out == ("width from another node", "height from another node")
    assert differing(workflow.settings, "svd_xt") == {
        "seed": 5,
        "num_steps": 12,
        "sampler": "LinearMultistepSampler",
        "order": 2,
        "sigma_min": 0.01,
        "sigma_max": 300.0,
        "guider": "VanillaCFG",
        "scale": 2.0,
    }


REFUSED: dict[str, Any] = {
    "list": [],
    "settings": {"settings": {"version": "svd"}},
    "empty": {},
    "no nodes": {"nodes": []},
    "other nodes": {"nodes": [node(1, "Note", ["hello"], {})]},
    "loop": {"1": {"class_type": "KSampler", "inputs": {"positive": ["1", 0], "negative": ["1", 0], "cfg": 1}}},
}


@pytest.mark.parametrize("case", list(REFUSED))
def test_other_json_is_refused(case: str) -> None:
    with pytest.raises(BadInput, match="'a'"):
        read_workflow(REFUSED[case], "'a'")


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4) | st.sampled_from(["3", "12", 2**70]),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_workflow_gives_valid_settings_or_is_refused(data: st.DataObject) -> None:
    tree = copy.deepcopy(data.draw(st.sampled_from([image_to_video(), text_to_video()])))
    for _ in range(data.draw(st.integers(1, 4))):
        rows = data.draw(st.sampled_from([tree["nodes"], tree["links"]]))
        row = data.draw(st.sampled_from(rows)) if rows else None
        if isinstance(row, dict):
            row[data.draw(st.sampled_from(["id", "type", "mode", "inputs", "widgets_values"]))] = data.draw(ANY)
        elif isinstance(row, list) and row:
            row[data.draw(st.integers(0, len(row) - 1))] = data.draw(ANY)
    try:
        workflow = read_workflow(tree, "a.json")
    except BadInput:
        return
    assert isinstance(workflow.notice, str)
    if workflow.settings:
        SampleSettings(**workflow.settings)


def test_a_workflow_of_thousands_of_nodes_is_refused() -> None:
    """Regression: 6,000 samplers in a row took minutes."""
    tree = image_to_video()
    for number in range(1000, 7000):
        tree["nodes"].insert(0, node(number, "KSampler", [1], {"positive": (number, "C"), "model": (number, "M")}))
        tree["links"].append([number, number - 1, 0, number, 0, "C"])
    with pytest.raises(BadInput, match=r"a\.json has 6,007 nodes; choose a workflow with at most 1,000"):
        read_workflow(tree, "a.json")
