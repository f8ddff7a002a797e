"""Which memory plan a clip is made with: the first one that fits into what is free, by exact accounting."""

from dataclasses import dataclass, replace

from img2vid.engine.interface import MEMORY_PLANS, MemoryPlan
from img2vid.engine.memory.accounting import ClipSize, Needs
from img2vid.errors import OutOfMemory

MB, GB = 10**6, 10**9
CONTEXT = 500 * MB
"""An assumption: what a process takes on a card before its first tensor, for the driver's context and for kernels."""
WORKSPACE = 400 * MB
"""An assumption: what convolutions and matrix products take beside their results, and gaps between tensors."""


@dataclass(frozen=True)
class Plan:
    """How memory is used: what stays on the card, both conditionings at once or not, decoding in less memory or not."""

    memory: MemoryPlan = "resident"
    together: bool = False
    lean: bool = False


def bytes_of(needs: Needs, size: ClipSize, plan: Plan) -> dict[str, int]:
    """Bytes on the card in each stage: weights, activations and workspace, without the context."""
    held = {**needs.weights, "network": needs.streamed} if plan.memory == "blocks" else needs.weights
    parts = {
        "clip": needs.embed_image(size),
        "encoder": needs.encode(size),
        "network": needs.sample(size, together=plan.together),
        "decoder": needs.decode(size, lean=plan.lean),
    }
    everything = sum(needs.weights.values())
    total = {
        part: (everything if plan.memory == "resident" else held[part]) + activations + WORKSPACE
        for part, activations in parts.items()
    }
    condition = max(total["clip"], total["encoder"])
    return {"condition": condition, "sample": total["network"], "decode": total["decoder"]}


def candidates(memory: MemoryPlan) -> list[Plan]:
    """The ways to follow a plan, the fastest first."""
    # Streamed weights are better used for both conditionings while they are there.
    options = (True, False) if memory == "blocks" else (False,)
    return [Plan(memory, together, lean) for together in options for lean in (False, True)]


def choose(needs: Needs, size: ClipSize, free: int, wanted: MemoryPlan | None = None) -> Plan:
    """The first plan that fits into `free` bytes for this size; of a plan that is wanted, the way that fits.

    Where so many frames cannot be decoded at a time, a plan that fits with one: memory runs out then, and fewer are
    decoded. Raises OutOfMemory where nothing fits and no plan is wanted.
    """
    plans = [plan for memory in (MEMORY_PLANS if wanted is None else (wanted,)) for plan in candidates(memory)]
    for plan in plans:
        if max(bytes_of(needs, size, plan).values()) <= free:
            return plan
    smallest = replace(size, decode_t=1)
    for plan in plans:
        if plan.lean and max(bytes_of(needs, smallest, plan).values()) <= free:
            return plan
    if wanted is not None:
        return plans[-1]
    stage, needed = max(bytes_of(needs, smallest, plans[-1]).items(), key=lambda item: item[1])
    raise OutOfMemory(
        f"{size.num_frames} frames of {size.width} x {size.height} need {needed / GB:.1f} GB of the card in the stage "
        f"{stage!r}, even with memory blocks and decode_t 1, and {free / GB:.1f} GB are free; make the video smaller, "
        "or close other programs that use the card"
    )
