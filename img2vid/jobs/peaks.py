"""Peak memory of past runs, recorded by the service and shown before the next run of the same kind."""

from img2vid.inference import EngineChoice
from img2vid.jobs.fingerprint import of_memory
from img2vid.jobs.store import Store
from img2vid.settings import SampleSettings


def record_peak(store: Store, settings: SampleSettings, choice: EngineChoice, memory: int) -> None:
    """Record the most bytes that a run used; a lower value than before is ignored."""
    name = of_memory(settings, choice)
    if memory > (store.note(name) or 0):
        store.write_note(name, memory)


def expected_peak(store: Store, settings: SampleSettings, choice: EngineChoice) -> int | None:
    """Return the most bytes that runs of this kind used on this machine, or None before the first one."""
    return store.note(of_memory(settings, choice))
