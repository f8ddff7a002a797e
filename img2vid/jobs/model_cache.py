"""Cache of loaded models in a worker's memory. It holds one model unless the user allows more."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from img2vid import inference
from img2vid.errors import Cancelled, Img2VidError, OutOfMemory, is_out_of_memory, memory_advice, shown
from img2vid.inference import LoadedModel
from img2vid.options import LoadOptions, whole_number
from img2vid.progress import OnEvent
from img2vid.text_to_image.pipeline import LoadedImageModel
from img2vid.versions import CheckpointRow

VARIABLE = "IMG2VID_MODELS_IN_MEMORY"
MOST = 16

if TYPE_CHECKING:
    from img2vid.engine import Parts

V = TypeVar("V", bound=CheckpointRow)
M = TypeVar("M", bound=LoadedModel | LoadedImageModel)
Load = Callable[[V, LoadOptions, OnEvent, "Parts"], M]


@dataclass(frozen=True)
class CachedModel(Generic[M]):
    """Loaded model, of videos or of pictures, and the bytes in use after loading it."""

    model: M
    memory: int


def capacity() -> int:
    """Return the maximum number of models in memory. Raise BadInput if the user's value is invalid."""
    text = os.environ.get(VARIABLE, "").strip() or "1"
    return whole_number(VARIABLE, text, 1, MOST)


class ModelCache:
    """LRU cache of loaded models. Those of pictures and of videos take each other's place."""

    def __init__(self) -> None:
        self._models: dict[object, CachedModel[Any]] = {}
        """Models by their key, most recently used last."""
        self._reported: object = None
        """Key of the model that was reported last."""

    def release(self) -> None:
        """Drop all models and free their memory."""
        self._models.clear()
        self._reported = None
        inference.release_memory()

    def get(
        self, version: V, options: LoadOptions, load: Load[V, M], on_event: OnEvent, report: Callable[..., None]
    ) -> CachedModel[M]:
        """Return the model of a version, loading it on a cache miss. Old models are dropped before a new one is loaded.

        `options` contains no `auto`. A different number of threads reuses the same model. `report` is called with
        fields of ModelStatus whenever another model becomes current.
        """
        checkpoint = version.require_checkpoint()
        facts = [file.stat() for file in version.files]
        size = sum(one.st_size for one in facts)
        # The number of threads belongs to the process, not to the model.
        same = replace(options, threads=0)
        wanted = (version.kind, version.model_dump_json(), same, checkpoint, size, *(one.st_mtime_ns for one in facts))
        engine = {"provider": options.provider, "device": options.device, "precision": options.precision}
        status: dict[str, Any] = {"version": version.name, **engine}
        held = self._models.pop(wanted, None)
        if held is None:
            self._reported = None
            report(state="loading", **status)
            try:
                held = self._load_model(version, options, load, on_event)
            except Cancelled:
                report(state="none")
                raise
            except Exception as error:
                report(state="failed", error=one_sentence(error), **status)
                raise
        self._models[wanted] = held
        inference.use_threads(options.threads)
        if self._reported != wanted:
            self._reported = wanted
            advice = held.model.advice
            report(state="ready", done=size, total=size, memory=held.memory, advice=advice, **status)
        return held

    def _load_model(self, version: V, options: LoadOptions, load: Load[V, M], on_event: OnEvent) -> CachedModel[M]:
        # Modules shared with the most recent model are reused; its network is dropped before the new one is loaded.
        shares = self._models and version.kind == "video"
        spare: Parts = self._models[next(reversed(self._models))].model.parts if shares else {}
        for old in list(self._models)[: max(len(self._models) + 1 - capacity(), 0)]:
            del self._models[old]
        inference.release_memory()
        model = None
        try:
            model = load(version, options, on_event, spare)
        except OutOfMemory:
            if not self._models and not spare:
                raise
        if model is None:  # outside of the except block, because the error refers to what was loaded so far
            spare = {}
            self.release()
            model = load(version, options, on_event, spare)
        return CachedModel(model, inference.memory_in_use(options.device))


def one_sentence(error: Exception) -> str:
    """Return the user message for an error, with the type of an unexpected one."""
    if isinstance(error, Img2VidError):
        return str(error)
    if is_out_of_memory(error):
        return f"out of memory; {memory_advice(error)}"
    return shown(" ".join(f"failed with {type(error).__name__}: {error}".split()))
