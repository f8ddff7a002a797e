"""Cache of loaded models in a worker's memory. It holds one model unless the user allows more."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from img2vid import inference
from img2vid.errors import BadInput, Cancelled, Img2VidError, OutOfMemory
from img2vid.inference import EngineChoice, LoadedModel
from img2vid.progress import OnEvent
from img2vid.versions import ModelVersion

VARIABLE = "IMG2VID_MODELS_IN_MEMORY"
MOST = 16

if TYPE_CHECKING:
    from img2vid.engine import Parts

Load = Callable[[ModelVersion, EngineChoice, OnEvent, "Parts"], LoadedModel]


@dataclass(frozen=True)
class CachedModel:
    """Loaded model, and the bytes in use after loading it."""

    model: LoadedModel
    memory: int


def capacity() -> int:
    """Return the maximum number of models in memory. Raise BadInput if the user's value is invalid."""
    text = os.environ.get(VARIABLE, "").strip() or "1"
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise BadInput(f"{VARIABLE} must be a whole number from 1 to {MOST}, got {text!r}")
    return int(text)


class ModelCache:
    """LRU cache of loaded models."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._models: dict[object, CachedModel] = {}
        """Models by their key, most recently used last."""
        self._reported: object = None
        """Key of the model that was reported last."""

    def release(self) -> None:
        """Drop all models and free their memory."""
        self._models.clear()
        self._reported = None
        inference.release_memory()

    def get(
        self, version: ModelVersion, choice: EngineChoice, on_event: OnEvent, report: Callable[..., None]
    ) -> CachedModel:
        """Return the model of a version, loading it on a cache miss. Old models are dropped before a new one is loaded.

        `choice` contains no `auto`. A different number of threads reuses the same model. `report` is called with
        fields of ModelStatus whenever another model becomes current.
        """
        checkpoint = version.require_checkpoint()
        facts = checkpoint.stat()
        # The number of threads belongs to the process, not to the model.
        same = replace(choice, threads=0)
        wanted = (version.model_dump_json(), same, checkpoint, facts.st_size, facts.st_mtime_ns)
        engine = {"provider": choice.provider, "device": choice.device, "precision": choice.precision}
        status: dict[str, Any] = {"version": version.name, **engine}
        held = self._models.pop(wanted, None)
        if held is None:
            self._reported = None
            report(state="loading", **status)
            try:
                held = self._load_model(version, choice, on_event)
            except Cancelled:
                report(state="none")
                raise
            except Exception as error:
                report(state="failed", error=one_sentence(error), **status)
                raise
        self._models[wanted] = held
        inference.use_threads(choice.threads)
        if self._reported != wanted:
            self._reported = wanted
            size, advice = facts.st_size, held.model.advice
            report(state="ready", done=size, total=size, memory=held.memory, advice=advice, **status)
        return held

    def _load_model(self, version: ModelVersion, choice: EngineChoice, on_event: OnEvent) -> CachedModel:
        # Modules shared with the most recent model are reused; its network is dropped before the new one is loaded.
        spare: Parts = self._models[next(reversed(self._models))].model.parts if self._models else {}
        for old in list(self._models)[: max(len(self._models) + 1 - capacity(), 0)]:
            del self._models[old]
        inference.release_memory()
        model = None
        try:
            model = self._load(version, choice, on_event, spare)
        except OutOfMemory:
            if not self._models and not spare:
                raise
        if model is None:  # outside of the except block, because the error refers to what was loaded so far
            spare = {}
            self.release()
            model = self._load(version, choice, on_event, spare)
        return CachedModel(model, inference.memory_in_use(choice.device))


def one_sentence(error: Exception) -> str:
    """Return the user message for an error, with the type of an unexpected one."""
    if isinstance(error, Img2VidError):
        return str(error)
    return " ".join(f"failed with {type(error).__name__}: {error}".split())
