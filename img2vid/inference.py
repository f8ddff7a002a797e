"""Engine options and loaded models.

torch is imported only when a model is loaded, so that planning a run stays fast.
"""

import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from img2vid.errors import BadInput, ConfigError, OutOfMemory
from img2vid.progress import OnEvent, StageClock, ignore
from img2vid.settings import SampleSettings
from img2vid.versions import ModelVersion

if TYPE_CHECKING:
    from img2vid.engine import Engine, Parts

PROVIDERS = ("auto", "native", "sgm")
PRECISIONS = ("auto", "fp32", "fp16", "bf16")
MEMORY_PLANS = ("auto", "resident", "stages", "blocks")
MOST_THREADS = 1024
THREADS_VARIABLE = "IMG2VID_THREADS"


@dataclass(frozen=True)
class EngineChoice:
    """Engine options of a run, validated by `check`.

    provider: native, sgm or auto. device: torch device name, or auto. precision: number format of the network's
    weights. decoder_precision: number format of the decoder's weights. memory: what stays on the device, either
    everything (resident), the active stage (stages) or the active block (blocks); auto is the first that fits.
    compile: use torch.compile. threads: CPU threads; 0 means IMG2VID_THREADS or else torch's default.
    """

    provider: str = "auto"
    device: str = "auto"
    precision: str = "auto"
    allow_pickle: bool = False
    memory: str = "auto"
    decoder_precision: str = "auto"
    compile: bool = False
    threads: int = 0

    def check(self) -> None:
        """Raise BadInput for the first invalid value. The device is validated on the worker."""
        known = {
            "provider": PROVIDERS,
            "precision": PRECISIONS,
            "memory": MEMORY_PLANS,
            "decoder_precision": PRECISIONS,
        }
        for name, values in known.items():
            value: str = getattr(self, name)
            if value not in values:
                raise BadInput(f"{name} must be one of {', '.join(values)}, got {value!r}")
        threads_of(str(self.threads), "threads")


@dataclass(frozen=True)
class LoadedModel:
    """Model in memory. `choice` contains no `auto`, except for `memory` on a GPU, which is chosen for each clip.

    advice: sentence for the user about an option that slows this model down, or empty.
    """

    engine: "Engine"
    version: ModelVersion
    choice: EngineChoice
    checkpoint: Path
    advice: str = ""

    @property
    def parts(self) -> "Parts":
        """Modules that the next model can reuse without loading them again."""
        return self.engine.parts


def load(
    version: ModelVersion, choice: EngineChoice, on_event: OnEvent = ignore, spare: "Parts | None" = None
) -> LoadedModel:
    """Load the model of a version, reusing the modules in `spare` that it shares. Events count bytes.

    Raise CheckpointError, ConfigError, BadInput or EngineUnavailable.
    """
    checkpoint = version.require_checkpoint()
    clock = StageClock(on_event)
    clock.report("load", 0, 1)
    from img2vid.engine import load_engine

    choice = resolve(choice)
    engine = load_engine(
        version.config_path,
        checkpoint,
        provider=choice.provider,
        device=choice.device,
        precision=choice.precision,
        allow_pickle=choice.allow_pickle,
        memory=choice.memory,
        decoder_precision=choice.decoder_precision,
        compile=choice.compile,
        threads=choice.threads,
        spare=spare,
        on_bytes=lambda done, total: clock.report("load", done, total),
    )
    _require_agreement(version, engine)
    with suppress(OutOfMemory):  # a smaller clip may still fit; memory is planned again for each clip
        plan_memory(engine, version.settings({}))
    return LoadedModel(engine, version, choice, checkpoint, _speed_advice(choice))


def _speed_advice(choice: EngineChoice) -> str:
    """Return advice about number formats that are slow on this CPU; `choice` contains no `auto`."""
    if not choice.device.startswith("cpu"):
        return ""
    from img2vid.engine.format_speed import speed_advice

    return speed_advice(choice.precision, choice.decoder_precision)


def plan_memory(engine: "Engine", settings: SampleSettings) -> str:
    """Apply and return the memory plan for such a clip. Raise OutOfMemory if none fits the GPU."""
    from img2vid.engine import ClipSize
    from img2vid.engine import plan_memory as make

    return make(engine, ClipSize(settings.num_frames, settings.height, settings.width, settings.decode_t)).memory


def resolve(choice: EngineChoice) -> EngineChoice:
    """Replace `auto` by the values for this machine. Raise BadInput if the choice is invalid.

    `memory` stays `auto` on a GPU, because what fits depends on the clip.
    """
    from img2vid.engine.loading import choose_decoder_precision, choose_device, choose_memory, choose_precision

    choice.check()
    provider = "native" if choice.provider == "auto" else choice.provider
    device = choose_device(choice.device)
    return replace(
        choice,
        provider=provider,
        device=device,
        precision=choose_precision(choice.precision, device),
        memory=choose_memory(choice.memory, device, provider),
        decoder_precision=choose_decoder_precision(choice.decoder_precision),
        threads=choice.threads or threads_of(os.environ.get(THREADS_VARIABLE, "").strip() or "0", THREADS_VARIABLE),
    )


def threads_of(text: str, name: str) -> int:
    """Parse a thread count given under `name`. Raise BadInput if it is invalid."""
    if not re.fullmatch("[0-9]{1,4}", text) or int(text) > MOST_THREADS:
        raise BadInput(f"{name} must be a whole number from 0 to {MOST_THREADS}, got {text!r}")
    return int(text)


def use_threads(threads: int) -> None:
    """Set the number of torch threads; 0 is torch's default."""
    from img2vid.engine.threads import use_threads as use

    use(threads)


def device_name(device: str) -> str:
    """Return the GPU's product name, or "CPU"."""
    from img2vid.engine.loading import choose_device
    from img2vid.engine.memory.device import device_name as name_of

    return name_of(choose_device(device))


def device_works(device: str) -> bool:
    """Return True if the device still computes; a GPU fault can leave the CUDA context unusable."""
    from img2vid.engine.memory.device import works

    return works(device)


def memory_in_use(device: str) -> int:
    """Return the bytes in use by this process: GPU memory for a GPU, system memory for a CPU."""
    if device.startswith("cpu"):
        return psutil.Process().memory_info().rss
    from img2vid.engine.memory.device import in_use_on_card

    return in_use_on_card(device)


def release_memory() -> None:
    """Free the memory of models that are no longer referenced."""
    from img2vid.engine.memory.device import release

    release()


def made_by(model: LoadedModel) -> str:
    """Return an identifier of the model's weights and arithmetic, unique if its file is gone.

    Decoder precision and memory plan are not part of it, because they do not change the sampled latents.
    """
    try:
        facts = model.checkpoint.stat()
        file = (model.checkpoint.name, facts.st_size, facts.st_mtime_ns)
    except OSError:
        file = (model.checkpoint.name, secrets.token_hex(16))
    choice = model.choice
    engine = (choice.provider, choice.device, choice.precision, *(["compiled"] if choice.compile else []))
    return " ".join(map(str, (model.version.name, *engine, *file)))


def _require_agreement(version: ModelVersion, engine: "Engine") -> None:
    """Raise ConfigError if the row disagrees with the network, which would otherwise fail only during a run."""
    if version.downsampling != engine.downsampling or version.size_step % engine.size_step:
        raise ConfigError(
            f"the row of {version.name} says downsampling {version.downsampling} and size_step {version.size_step}, "
            f"its configuration {version.config} needs {engine.downsampling} and {engine.size_step}; change the row"
        )
