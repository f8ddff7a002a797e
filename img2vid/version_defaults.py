"""Control values after a change of model version."""

from collections.abc import Mapping
from typing import Any

from img2vid.versions import ModelVersion


def switched(controls: Mapping[str, Any], old: ModelVersion, new: ModelVersion) -> dict[str, Any]:
    """Return the controls for `new`, coming from `old`.

    If the versions' defaults for a control differ, it gets the new default, as in the reference demo: 25 frames suit
    svd_xt but harm svd. If they agree, the user's value stays, for example fitting, seed, or a small decode_t chosen
    because memory is short. A size that the new model cannot make becomes its training size.
    """
    before, after = old.settings({}).model_dump(), new.settings({}).model_dump()
    kept = {name: value for name, value in controls.items() if before[name] == after[name]}
    values = {**after, **kept, "version": new.name}
    if values["height"] % new.size_step or values["width"] % new.size_step:
        values.update(height=new.height, width=new.width)
    return values


def reset(controls: Mapping[str, Any], version: ModelVersion) -> dict[str, Any]:
    """Return the version's defaults for all controls except the seed, which keeps its value."""
    return {**version.settings({}).model_dump(), "seed": controls["seed"]}
