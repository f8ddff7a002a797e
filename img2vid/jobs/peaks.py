"""Peak memory of past runs, recorded by the service and shown before the next run of the same kind."""

from img2vid.jobs.fingerprint import of_memory
from img2vid.jobs.store import Store
from img2vid.options import LoadOptions
from img2vid.settings import SampleSettings


def record_peak(store: Store, settings: SampleSettings, options: LoadOptions, memory: int) -> None:
    """Record the most bytes that a run used; a lower value than before is ignored."""
    if memory > (expected_peak(store, settings, options) or 0):
        store.write_note(of_memory(settings, options), memory)


def expected_peak(store: Store, settings: SampleSettings, options: LoadOptions) -> int | None:
    """Return the most bytes that runs of this kind used on this machine, or None before the first one."""
    peak = store.note(of_memory(settings, options))
    return peak if isinstance(peak, int) else None
