"""Prints the GPU memory that a model needs, by memory plan and stage, computed without a GPU; see docs/performance.md.

.venv/bin/python scripts/measure_memory.py
.venv/bin/python scripts/measure_memory.py --versions svd --width 768 --height 448 --decoder-precision fp16
"""

import argparse
from pathlib import Path

import torch

from img2vid.engine.backends.native import needs_of
from img2vid.engine.config import load_config
from img2vid.engine.interface import DTYPES, MEMORY_PLANS, LoadOptions
from img2vid.engine.memory.accounting import ClipSize, Needs
from img2vid.engine.memory.plans import CONTEXT, GB, WORKSPACE, Plan, bytes_of
from img2vid.versions import load_versions


def rows(name: str, needs: Needs, size: ClipSize) -> list[str]:
    """Return a table row per plan: bytes of each stage, and the required GPU memory."""
    lines: list[str] = []
    for memory in MEMORY_PLANS:
        for lean in (False, True):
            needed = bytes_of(needs, size, Plan(memory, together=memory == "blocks", lean=lean))
            cells = [f"{value / GB:.1f}" for value in (*needed.values(), max(needed.values()) + CONTEXT)]
            lines.append(f"| {name} | {memory} | {'lean' if lean else 'plain'} | {' | '.join(cells)} |")
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", nargs="+", default=["svd", "svd_xt"])
    parser.add_argument("--precision", choices=tuple(DTYPES), default="fp16")
    parser.add_argument("--decoder-precision", choices=tuple(DTYPES), default="fp32")
    for name in ("width", "height", "num-frames", "decode-t"):
        parser.add_argument(f"--{name}", type=int, help="default: the version's")
    given = parser.parse_args()
    print(f"GB; {WORKSPACE / GB:.1f} of workspace in each stage and {CONTEXT / GB:.1f} of context in the last column\n")
    print("| model | memory | decoding | condition | sample | decode | card |")
    print("|---|---|---|---|---|---|---|")
    parts: list[str] = []
    for name in given.versions:
        version = load_versions()[name]
        settings = version.settings({})
        size = ClipSize(
            given.num_frames or settings.num_frames,
            given.height or settings.height,
            given.width or settings.width,
            given.decode_t or settings.decode_t,
        )
        config = version.config_path
        order = LoadOptions(
            config,
            load_config(config),
            Path(),
            torch.device("cpu"),
            given.precision,
            decoder_precision=given.decoder_precision,
        )
        needs = needs_of(order)
        print("\n".join(rows(name, needs, size)), flush=True)
        held = ", ".join(f"{part} {value / GB:.2f}" for part, value in needs.weights.items())
        activations = {
            "encoder": needs.encode(size),
            "step in turn": needs.sample(size, together=False),
            "step together": needs.sample(size, together=True),
            "decode plain": needs.decode(size, lean=False),
            "decode lean": needs.decode(size, lean=True),
        }
        lived = ", ".join(f"{part} {value / GB:.2f}" for part, value in activations.items())
        parts.append(f"{name}: weights {held}, network streamed {needs.streamed / GB:.2f}; activations {lived}")
    print("\n" + "\n".join(parts))


if __name__ == "__main__":
    main()
