"""How much memory runs took: seen while they run, remembered in the store, told before the next one of their kind."""

from img2vid.inference import EngineChoice
from img2vid.jobs.job import Job
from img2vid.jobs.store import Store
from img2vid.settings import SampleSettings


def record_peak(store: Store, job: Job, memory: int) -> None:
    """Takes notice of what a running job has in use; the highest is kept."""
    name = _name(job.settings, job.choice)
    if memory > (store.note(name) or 0):
        store.write_note(name, memory)


def expected_peak(store: Store, settings: SampleSettings, choice: EngineChoice) -> int | None:
    """The most bytes that runs of this kind had in use on this machine, or None before the first one."""
    return store.note(_name(settings, choice))


def _name(settings: SampleSettings, choice: EngineChoice) -> str:
    """Of a kind of run: all that memory depends on."""
    engine = (choice.provider, choice.device, choice.precision, choice.decoder_precision, choice.memory)
    frames = (settings.width, settings.height, settings.num_frames, settings.decode_t)
    compiled = ("compiled",) if choice.compile else ()
    return " ".join(map(str, ("memory", settings.version, *engine, *compiled, *frames)))
