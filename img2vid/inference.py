"""Engine options and loaded models.

torch is imported only when a model is loaded, so that planning a run stays fast.
"""

import logging
import secrets
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from img2vid import paths
from img2vid.errors import ConfigError, OutOfMemory
from img2vid.options import LoadOptions
from img2vid.progress import OnEvent, StageClock, ignore
from img2vid.settings import SampleSettings
from img2vid.versions import ModelVersion

if TYPE_CHECKING:
    from img2vid.engine import Engine, Parts

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class LoadedModel:
    """Model in memory. `options` contains no `auto`, except for `memory` on a GPU, which is chosen for each clip.

    advice: sentence for the user about an option that slows this model down, or empty.
    """

    engine: "Engine"
    version: ModelVersion
    options: LoadOptions
    checkpoint: Path
    advice: str = ""

    @property
    def parts(self) -> "Parts":
        """Modules that the next model can reuse without loading them again."""
        return self.engine.parts


def load(
    version: ModelVersion, options: LoadOptions, on_event: OnEvent = ignore, spare: "Parts | None" = None
) -> LoadedModel:
    """Load the model of a version, reusing the modules in `spare` that it shares. Events count bytes.

    Raise CheckpointError, ConfigError, BadInput or EngineUnavailable.
    """
    checkpoint = version.require_checkpoint()
    clock = StageClock(on_event)
    clock.report("load", 0, 1)
    from img2vid.engine import load_engine

    options = resolve(options)
    engine = load_engine(
        version.config_path,
        checkpoint,
        options,
        unet=version.unet_path,
        spare=spare,
        on_bytes=lambda done, total: clock.report("load", done, total),
    )
    _require_agreement(version, engine)
    with suppress(OutOfMemory):  # a smaller clip may still fit; memory is planned again for each clip
        plan_memory(engine, version.settings({}))
    return LoadedModel(engine, version, options, checkpoint, _speed_advice(options))


def _speed_advice(options: LoadOptions) -> str:
    """Return advice about number formats that are slow on this CPU; `options` contains no `auto`."""
    if not options.device.startswith("cpu"):
        return ""
    from img2vid.engine.format_speed import speed_advice

    return speed_advice(options.precision, options.decoder_precision)


def plan_memory(engine: "Engine", settings: SampleSettings) -> str:
    """Apply and return the memory plan for such a clip. Raise OutOfMemory if none fits the GPU."""
    from img2vid.engine import ClipSize
    from img2vid.engine import plan_memory as make

    return make(engine, ClipSize(settings.num_frames, settings.height, settings.width, settings.decode_t)).memory


def resolve(options: LoadOptions) -> LoadOptions:
    """Replace `auto` by the values for this machine. Raise BadInput for an invalid value."""
    from img2vid.engine import resolve as resolve_here

    return resolve_here(options)


def use_threads(threads: int) -> None:
    """Set the number of torch threads; 0 is torch's default."""
    from img2vid.engine.threads import use_threads as use

    use(threads)


def device_name(device: str) -> str:
    """Return the GPU's product name, or "CPU"."""
    from img2vid.engine.loading import choose_device
    from img2vid.engine.memory.device import device_name as name_of

    return name_of(choose_device(device))


def measure_speed(device: str) -> dict[str, dict[str, float]]:
    """Return the operations per second by number format of the chosen device, by its type; nothing if it fails."""
    from img2vid.engine.bench.rates import measure_speed as measure
    from img2vid.engine.loading import choose_device

    try:
        chosen = choose_device(device)
        return {chosen.split(":")[0]: measure(chosen)}
    except Exception:  # only estimates need it, and a run reports what is wrong with the device
        logger.exception("the speed of the device cannot be measured")
        return {}


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
    name = model.checkpoint.name
    try:
        base, unet = paths.weight_files(model.checkpoint), model.version.unet_path
        facts = [(file.name, file.stat()) for file in (base if unet is None or not base else [*base, unet])]
        files = [part for name, one in facts for part in (name, one.st_size, one.st_mtime_ns)]
    except OSError:
        files = []
    file = files or (name, secrets.token_hex(16))
    options = model.options
    engine = (options.provider, options.device, options.precision, *(["compiled"] if options.compile else []))
    return " ".join(map(str, (model.version.name, *engine, *file)))


def _require_agreement(version: ModelVersion, engine: "Engine") -> None:
    """Raise ConfigError if the row disagrees with the network, which would otherwise fail only during a run."""
    if version.downsampling != engine.downsampling or version.size_step % engine.size_step:
        raise ConfigError(
            f"the row of {version.name} says downsampling {version.downsampling} and size_step {version.size_step}, "
            f"its configuration {version.config} needs {engine.downsampling} and {engine.size_step}; change the row"
        )
    if ("azimuths_rad" in engine.conditioned_on) != (version.orbit == "posed"):
        raise ConfigError(
            f"the row of {version.name} says orbit {version.orbit}, but its configuration {version.config} has "
            f"embedders of {', '.join(engine.conditioned_on) or 'no numbers'}; `orbit: posed` needs polars_rad and "
            "azimuths_rad; change the row"
        )
