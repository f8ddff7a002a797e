"""How a model is run, as the user chooses it, and the model in memory that comes of it.

torch is imported only when a model is loaded, so that whoever just plans a run does not wait for it.
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
    """How a model is run; `check` says whether that is possible at all.

    provider: native, sgm or auto; device as torch names it, or auto. precision: format of the network's weights;
    decoder_precision: of the weights that turn latents into frames. memory: what stays on the device: everything
    (resident), the stage at work (stages), or the block at work (blocks); auto is the first that fits. compile: whether
    torch makes kernels of its own. threads: of the processor; 0 leaves it to IMG2VID_THREADS, or else to torch.
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
        """Raises BadInput about the first value that is none. The device is the business of whoever has it."""
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
    """A model in memory; `choice` holds no `auto` any more, but for memory on a card, which is chosen for each clip.

    advice: a sentence for the user about a choice that makes this model slower than it has to be, or empty.
    """

    engine: "Engine"
    version: ModelVersion
    choice: EngineChoice
    checkpoint: Path
    advice: str = ""

    @property
    def parts(self) -> "Parts":
        """What of it may serve the model that is loaded next, without being loaded again."""
        return self.engine.parts


def load(
    version: ModelVersion, choice: EngineChoice, on_event: OnEvent = ignore, spare: "Parts | None" = None
) -> LoadedModel:
    """Loads the model of a version, but for the `spare` parts of another one that it shares; events count bytes.

    Raises CheckpointError, ConfigError, BadInput and EngineUnavailable.
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
    with suppress(OutOfMemory):  # a smaller clip may still fit; each makes room for itself
        plan_memory(engine, version.settings({}))
    return LoadedModel(engine, version, choice, checkpoint, _speed_advice(choice))


def _speed_advice(choice: EngineChoice) -> str:
    """Return what to say about number formats in which the processor is slow; `choice` holds no `auto`."""
    if not choice.device.startswith("cpu"):
        return ""
    from img2vid.engine.format_speed import speed_advice

    return speed_advice(choice.precision, choice.decoder_precision)


def plan_memory(engine: "Engine", settings: SampleSettings) -> str:
    """The memory plan that such a clip is made with from now on; OutOfMemory where the card is too small for any."""
    from img2vid.engine import ClipSize
    from img2vid.engine import plan_memory as make

    return make(engine, ClipSize(settings.num_frames, settings.height, settings.width, settings.decode_t)).memory


def resolve(choice: EngineChoice) -> EngineChoice:
    """What `auto` stands for on this machine; raises BadInput where the choice is none.

    `auto` for memory stays where there is a card: what fits depends on the clip.
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
    """A number of threads that was written under that name; BadInput where it is none."""
    if not re.fullmatch("[0-9]{1,4}", text) or int(text) > MOST_THREADS:
        raise BadInput(f"{name} must be a whole number from 0 to {MOST_THREADS}, got {text!r}")
    return int(text)


def use_threads(threads: int) -> None:
    """Lets torch compute with that many threads from now on; 0 is as many as it likes."""
    from img2vid.engine.threads import use_threads as use

    use(threads)


def device_name(device: str) -> str:
    """What the device is called by its maker; CPU for a CPU."""
    from img2vid.engine.loading import choose_device
    from img2vid.engine.memory.device import device_name as name_of

    return name_of(choose_device(device))


def device_works(device: str) -> bool:
    """Whether the device still computes; a fault on a card can leave it deaf to the process that caused it."""
    from img2vid.engine.memory.device import works

    return works(device)


def memory_in_use(device: str) -> int:
    """Bytes that this process holds: on the card, for the name of a card, else in the machine's own memory."""
    if device.startswith("cpu"):
        return psutil.Process().memory_info().rss
    from img2vid.engine.memory.device import in_use_on_card

    return in_use_on_card(device)


def release_memory() -> None:
    """Gives memory of models that nothing refers to any more back."""
    from img2vid.engine.memory.device import release

    release()


def made_by(model: LoadedModel) -> str:
    """Which model it is: the same text, the same weights and arithmetic. One whose file is gone is like no other.

    Neither the decoder's precision nor the memory plan changes what is sampled.
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
    """A row with a finer size_step than the network has would fail only in the middle of a run."""
    if version.downsampling != engine.downsampling or version.size_step % engine.size_step:
        raise ConfigError(
            f"the row of {version.name} says downsampling {version.downsampling} and size_step {version.size_step}, "
            f"its configuration {version.config} needs {engine.downsampling} and {engine.size_step}; change the row"
        )
