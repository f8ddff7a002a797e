"""What happens to the controls when another model version is chosen."""

from collections.abc import Mapping
from typing import Any

from img2vid.versions import ModelVersion


def switched(controls: Mapping[str, Any], old: ModelVersion, new: ModelVersion) -> dict[str, Any]:
    """The controls for `new`, coming from `old`.

    Where the two versions have different defaults, the new one's is taken, as in the reference demo: 25 frames that
    suited svd_xt would only harm svd. Where they agree, what the user set stays: the picture's fitting, the seed, a
    small decode_t chosen because memory is short. A size that the new model cannot make becomes the size it was
    trained at.
    """
    before, after = old.settings({}).model_dump(), new.settings({}).model_dump()
    kept = {name: value for name, value in controls.items() if before[name] == after[name]}
    values = {**after, **kept, "version": new.name}
    if values["height"] % new.size_step or values["width"] % new.size_step:
        values.update(height=new.height, width=new.width)
    return values


def reset(controls: Mapping[str, Any], version: ModelVersion) -> dict[str, Any]:
    """The version's defaults for everything but the seed, which is a choice and not a fault."""
    return {**version.settings({}).model_dump(), "seed": controls["seed"]}
