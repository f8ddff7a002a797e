"""Memory plans: choose the first plan that fits into the free memory, by exact accounting."""

from dataclasses import dataclass, replace

from img2vid.engine.memory.accounting import ClipSize, Needs
from img2vid.errors import OutOfMemory
from img2vid.options import MEMORY_PLANS, MemoryPlan

MB, GB = 10**6, 10**9
CONTEXT = 500 * MB
"""Assumed GPU memory of a process before its first tensor, for the driver's context and kernels."""
WORKSPACE = 400 * MB
"""Assumed workspace of convolutions and matrix products, and gaps between tensors."""


@dataclass(frozen=True)
class Plan:
    """Use of memory.

    memory: which weights stay on the GPU. together: run both conditionings in one pass. low_memory: low-memory decoder.
    """

    memory: MemoryPlan = "resident"
    together: bool = False
    low_memory: bool = False


def bytes_of(needs: Needs, size: ClipSize, plan: Plan) -> dict[str, int]:
    """Return the GPU bytes of each stage: weights, activations and workspace, without the context."""
    loaded = {**needs.weights, "network": needs.streamed} if plan.memory == "blocks" else needs.weights
    parts = {
        "clip": needs.embed_image(size),
        "encoder": needs.encode(size),
        "network": needs.sample(size, together=plan.together),
        "decoder": needs.decode(size, low_memory=plan.low_memory),
    }
    everything = sum(needs.weights.values())
    total = {
        part: (everything if plan.memory == "resident" else loaded[part]) + activations + WORKSPACE
        for part, activations in parts.items()
    }
    condition = max(total["clip"], total["encoder"])
    return {"condition": condition, "sample": total["network"], "decode": total["decoder"]}


def candidates(memory: MemoryPlan) -> list[Plan]:
    """Return the variants of a memory plan, fastest first."""
    # Streaming weights once for both conditionings is faster than twice.
    options = (True, False) if memory == "blocks" else (False,)
    return [Plan(memory, together, low_memory) for together in options for low_memory in (False, True)]


def choose(needs: Needs, size: ClipSize, free: int, wanted: MemoryPlan | None = None) -> Plan:
    """Return the first plan for this size that fits into `free` bytes. wanted: consider only variants of this plan.

    If none fits with `decode_t`, return a plan that fits when decoding one frame at a time; decoding then runs out of
    memory and retries with fewer frames. Raise OutOfMemory if nothing fits and no plan is wanted.
    """
    plans = [plan for memory in (MEMORY_PLANS if wanted is None else (wanted,)) for plan in candidates(memory)]
    for plan in plans:
        if max(bytes_of(needs, size, plan).values()) <= free:
            return plan
    smallest = replace(size, decode_t=1)
    for plan in plans:
        if plan.low_memory and max(bytes_of(needs, smallest, plan).values()) <= free:
            return plan
    if wanted is not None:
        return plans[-1]
    stage, needed = max(bytes_of(needs, smallest, plans[-1]).items(), key=lambda item: item[1])
    raise OutOfMemory(
        f"{size.num_frames} frames of {size.width} x {size.height} need {needed / GB:.1f} GB of GPU memory in stage "
        f"{stage!r}, even with memory blocks and decode_t 1, but {free / GB:.1f} GB are free; make the video smaller, "
        "or close other programs that use the GPU"
    )
