"""GPU test of the installed torch against the CPU: `kernel.py cu118`. With `--compile`, of torch.compile.

`torch.cuda.is_available()` is also True for builds without kernels for the GPU, so a real computation is needed. Exits
with 0, or with 1 and one sentence.
"""

from __future__ import annotations

import sys

TOLERANCE = 0.02
"""Maximum relative difference of the norm in float16; rounding alone gives about 0.001."""


def main(arguments: list[str]) -> int:
    tag = arguments[0]
    try:
        import torch
    except (ImportError, OSError) as error:
        print(f"cannot import torch: {error}")
        return 1
    print(f"torch {torch.__version__}, built for CUDA {torch.version.cuda or 'none'}")
    if tag == "cpu":
        return report("the CPU", torch.device("cpu"))
    if torch.version.cuda is None:
        print(f"this torch runs only on the CPU, but {tag} was requested: another package replaced it")
        return 1
    if not torch.cuda.is_available():
        print("torch finds no GPU: the driver is missing or too old for this torch build")
        return 1
    if "--compile" in arguments:
        return report_compiled(torch.device("cuda"))
    cards = range(torch.cuda.device_count())
    codes = [report(torch.cuda.get_device_name(card), torch.device("cuda", card)) for card in cards]
    if 0 < sum(codes) < len(codes):
        good = ",".join(str(card) for card, code in enumerate(codes) if code == 0)
        print(f"img2vid uses every GPU: run `setx CUDA_VISIBLE_DEVICES {good}` once to exclude the others")
    return min(codes)


def report(name: str, device: object) -> int:
    """Test a device, print the result and return the exit code."""
    try:
        difference = compare(device, half=str(device) != "cpu")
    except RuntimeError as error:
        print(f"{name} failed: {' '.join(str(error).split())[:300]}")
        return 1
    good = difference <= TOLERANCE
    print(f"{name} {'computes correctly' if good else 'computes wrongly'} (difference {difference:.2g} of the norm)")
    return 0 if good else 1


def report_compiled(device: object) -> int:
    """Test torch.compile on a device, print the result and return the exit code."""
    import torch

    def gate(values: torch.Tensor) -> torch.Tensor:
        return values * torch.nn.functional.gelu(values + 1)

    values = torch.linspace(-3, 3, 1000, device=device)  # type: ignore[call-overload]
    try:
        difference = float((torch.compile(gate, dynamic=True)(values) - gate(values)).abs().max())
    except Exception as error:  # noqa: BLE001 - compilers raise anything
        print(f"torch.compile failed: {' '.join(str(error).split())[:300]}")
        return 1
    print(f"torch.compile works (difference {difference:.2g})")
    return 0 if difference <= TOLERANCE else 1


def compare(device: object, half: bool) -> float:
    """Return the relative difference of a convolution with attention on `device` from float32 on the CPU.

    These are the main operations of a video model. `half` selects float16 on the device.
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
