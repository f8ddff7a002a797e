"""Workflows with the values of ComfyUI's public video examples, in the form of its page."""

import copy
from typing import Any

Row = dict[str, Any]
SVD_VALUES = {"width": 1024, "height": 576, "frames": 14, "bucket": 127, "fps": 6, "augmentation": 0}


def node(number: int, kind: str, values: list[Any], inputs: dict[str, tuple[int, str]], mode: int = 0) -> Row:
    """Return a node of the page; inputs have the link's number and type by name."""
    ends = [{"name": name, "type": type_of, "link": link} for name, (link, type_of) in inputs.items()]
    return {"id": number, "type": kind, "mode": mode, "inputs": ends, "outputs": [], "widgets_values": values}


def image_to_video() -> Row:
    """Return the example that animates a picture with svd."""
    seed = 237514639057514
    nodes = [
        node(14, "VideoLinearCFGGuidance", [1], {"model": (23, "MODEL")}),
        node(
            3,
            "KSampler",
            [seed, "randomize", 20, 2.5, "euler", "karras", 1],
            {
                "model": (39, "MODEL"),
                "positive": (40, "CONDITIONING"),
                "negative": (17, "CONDITIONING"),
                "latent_image": (18, "LATENT"),
            },
        ),
        node(8, "VAEDecode", [], {"samples": (7, "LATENT"), "vae": (26, "VAE")}),
        node(10, "SaveAnimatedWEBP", ["ComfyUI", 10, False, 85, "default"], {"images": (10, "IMAGE")}),
        node(15, "ImageOnlyCheckpointLoader", ["svd.safetensors"], {}),
        node(
            12,
            "SVD_img2vid_Conditioning",
            list(SVD_VALUES.values()),
            {"clip_vision": (24, "CLIP_VISION"), "init_image": (41, "IMAGE"), "vae": (25, "VAE")},
        ),
        node(23, "LoadImage", ["mountains.png", "image"], {}),
    ]
    links = [
        *([7, 3, 0, 8, 0, "LATENT"], [10, 8, 0, 10, 0, "IMAGE"], [17, 12, 1, 3, 2, "CONDITIONING"]),
        *([18, 12, 2, 3, 3, "LATENT"], [23, 15, 0, 14, 0, "MODEL"], [24, 15, 1, 12, 0, "CLIP_VISION"]),
        *([25, 15, 2, 12, 2, "VAE"], [26, 15, 2, 8, 1, "VAE"], [39, 14, 0, 3, 0, "MODEL"]),
        *([40, 12, 0, 3, 1, "CONDITIONING"], [41, 23, 0, 12, 1, "IMAGE"]),
    ]
    return {"last_node_id": 23, "last_link_id": 41, "nodes": nodes, "links": links, "extra": {}, "version": 0.4}


def text_to_video() -> Row:
    """Return the example that makes a picture with SDXL and animates it with svd_xt."""
    tree = image_to_video()
    named(tree, "ImageOnlyCheckpointLoader")["widgets_values"] = ["svd_xt.safetensors"]
    named(tree, "SVD_img2vid_Conditioning")["widgets_values"][2] = 25
    tree["nodes"] = [row for row in tree["nodes"] if row["type"] != "LoadImage"]
    prompt = "photograph beautiful scenery nature mountains alps river rapids snow sky cumulus clouds"
    tree["nodes"] += [
        node(16, "CheckpointLoaderSimple", ["sd_xl_1.0.safetensors"], {}),
        node(18, "CLIPTextEncode", [prompt], {"clip": (29, "CLIP")}),
        node(19, "CLIPTextEncode", ["text, watermark"], {"clip": (31, "CLIP")}),
        node(22, "EmptyLatentImage", [1024, 576, 1], {}),
        node(
            17,
            "KSampler",
            [144698910769133, "randomize", 15, 8, "uni_pc_bh2", "normal", 1],
            {
                "model": (28, "MODEL"),
                "positive": (30, "CONDITIONING"),
                "negative": (32, "CONDITIONING"),
                "latent_image": (37, "LATENT"),
            },
        ),
        node(20, "VAEDecode", [], {"samples": (33, "LATENT"), "vae": (34, "VAE")}),
        node(21, "PreviewImage", [], {"images": (36, "IMAGE")}),
    ]
    tree["links"] = [link for link in tree["links"] if link[0] != 41] + [
        *([28, 16, 0, 17, 0, "MODEL"], [29, 16, 1, 18, 0, "CLIP"], [30, 18, 0, 17, 1, "CONDITIONING"]),
        *([31, 16, 1, 19, 0, "CLIP"], [32, 19, 0, 17, 2, "CONDITIONING"], [33, 17, 0, 20, 0, "LATENT"]),
        *([34, 16, 2, 20, 1, "VAE"], [41, 20, 0, 12, 1, "IMAGE"], [36, 20, 0, 21, 0, "IMAGE"]),
        [37, 22, 0, 17, 3, "LATENT"],
    ]
    return tree


def named(tree: Row, kind: str) -> Row:
    """Return the first node of a kind."""
    return next(row for row in tree["nodes"] if row["type"] == kind)


def changed(tree: Row, kind: str, at: int, value: Any) -> Row:
    """Return a copy with another value of a widget."""
    tree = copy.deepcopy(tree)
    named(tree, kind)["widgets_values"][at] = value
    return tree


def plain(workflow: Row) -> Row:
    """Return the API form without the settings that it carries."""
    return {key: {name: row[name] for name in ("class_type", "inputs")} for key, row in workflow.items()}
