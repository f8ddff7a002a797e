"""Options shared by the commands that make videos: engine options, and one option per setting."""

import argparse
import os
from typing import Any

from img2vid import inference
from img2vid.settings import APPROXIMATIONS, SampleSettings, requirement

GROUPS = {
    "video": ("version", "height", "width", "num_frames", "fitting", "crop_offset", "saving_fps", "watermark"),
    "conditioning": ("fps", "motion_bucket_id", "cond_aug", "seed", "num_samples"),
    "sampling": ("num_steps", "sampler", "s_churn", "s_tmin", "s_tmax", "s_noise", "eta", "order"),
    "noise levels": ("discretization", "sigma_min", "sigma_max", "rho"),
    "guidance": ("guider", "max_scale", "min_scale", "scale", "period", "period_fusing"),
    "approximations": APPROXIMATIONS,
    "memory": ("decode_t",),
}


def add_engine(parser: argparse.ArgumentParser) -> None:
    """Add the engine options."""
    engine = parser.add_argument_group("engine")
    engine.add_argument(
        "--provider", choices=("auto", "native", "sgm"), help="inference engine (default: IMG2VID_ENGINE or auto)"
    )
    engine.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto (default: auto)")
    engine.add_argument("--precision", default="auto", help="number format: fp32, fp16, bf16 or auto (default: auto)")
    engine.add_argument("--decoder-precision", default="auto", help="number format for decoding frames (default: auto)")
    engine.add_argument(
        "--memory", default="auto", help="memory plan: resident, stages, blocks or auto (default: auto)"
    )
    engine.add_argument("--compile", action="store_true", help="compile the network with torch.compile")
    engine.add_argument("--threads", metavar="N", help="CPU threads (default: IMG2VID_THREADS or PyTorch's default)")
    engine.add_argument("--allow-pickle", action="store_true", help="also load .ckpt checkpoints, weights only")


def add_settings(parser: argparse.ArgumentParser, without: tuple[str, ...] = ()) -> None:
    """Add an option per setting except those in `without`. Unset options use the model version's defaults."""
    for title, names in GROUPS.items():
        group = parser.add_argument_group(title)
        for name in names:
            if name not in without:
                _add_setting(group, name)


def settings_given(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings given on the command line, as text."""
    names = [name for group in GROUPS.values() for name in group]
    return {name: getattr(arguments, name) for name in names if getattr(arguments, name, None) is not None}


def choice_given(arguments: argparse.Namespace) -> inference.EngineChoice:
    """Return the engine choice. Raise BadInput if it is invalid."""
    choice = inference.EngineChoice(
        provider=arguments.provider or os.environ.get("IMG2VID_ENGINE") or "auto",
        device=arguments.device,
        precision=arguments.precision,
        allow_pickle=arguments.allow_pickle,
        memory=arguments.memory,
        decoder_precision=arguments.decoder_precision,
        compile=arguments.compile,
        threads=inference.threads_of(arguments.threads or "0", "threads"),
    )
    choice.check()
    return choice


def _add_setting(group: Any, name: str) -> None:
    field = SampleSettings.model_fields[name]
    option = f"--{name.replace('_', '-')}"
    text = f"{field.description} ({requirement(name)})".replace("%", "%%")
    if field.annotation is bool:
        group.add_argument(option, action=argparse.BooleanOptionalAction, default=None, help=field.description)
    else:
        group.add_argument(option, default=None, metavar=name.upper(), help=text)
