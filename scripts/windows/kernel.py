"""Computes on the card with the torch of the environment, and compares with the processor: `kernel.py cu118`.

`torch.cuda.is_available()` is True also where a build has no programs for the card, so something real has to run.
Ends with code 0, or with 1 and one sentence.
"""

from __future__ import annotations

import sys

TOLERANCE = 0.02
"""Of the norms, in float16: rounding alone makes about 0.001."""


def main(arguments: list[str]) -> int:
    tag = arguments[0]
    try:
        import torch
    except (ImportError, OSError) as error:
        print(f"torch cannot be imported: {error}")
        return 1
    print(f"torch {torch.__version__}, made for CUDA {torch.version.cuda or 'none'}")
    if tag == "cpu":
        return report("the processor", torch.device("cpu"))
    if torch.version.cuda is None:
        print(f"this torch computes on the processor alone, and {tag} was asked for: something replaced it")
        return 1
    if not torch.cuda.is_available():
        print("torch finds no card: the driver is missing, or too old for this build of torch")
        return 1
    cards = range(torch.cuda.device_count())
    codes = [report(torch.cuda.get_device_name(card), torch.device("cuda", card)) for card in cards]
    if 0 < sum(codes) < len(codes):
        good = ",".join(str(card) for card, code in enumerate(codes) if code == 0)
        print(f"img2vid gives work to every card: run `setx CUDA_VISIBLE_DEVICES {good}` once, to leave out the others")
    return min(codes)


def report(name: str, device: object) -> int:
    """Tries a card and says how it went; returns the exit code."""
    try:
        difference = compare(device, half=str(device) != "cpu")
    except RuntimeError as error:
        print(f"{name} could not compute: {' '.join(str(error).split())[:300]}")
        return 1
    good = difference <= TOLERANCE
    print(f"{name} {'computes correctly' if good else 'computes wrongly'} (difference {difference:.2g} of the norm)")
    return 0 if good else 1


def compare(device: object, half: bool) -> float:
    """The difference between a convolution with attention on `device`, in float16 if `half`, and on the processor.

    These two are what a video model mostly consists of. It is in parts of the norm of the result in float32.
    """
    import torch
    from torch.nn.functional import conv2d, scaled_dot_product_attention

    def compute(where: object, kind: torch.dtype) -> torch.Tensor:
        generator = torch.Generator().manual_seed(23)
        picture = torch.randn(1, 32, 24, 24, generator=generator)
        kernel = torch.randn(64, 32, 3, 3, generator=generator) / 17
        filtered = conv2d(picture.to(where, kind), kernel.to(where, kind), padding=1)  # type: ignore[call-overload]
        tokens = filtered.reshape(1, 1, 64, 576).transpose(2, 3)
        return scaled_dot_product_attention(tokens, tokens, tokens).float().cpu()

    expected = compute("cpu", torch.float32)
    found = compute(device, torch.float16 if half else torch.float32)
    return float((found - expected).norm() / expected.norm())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
