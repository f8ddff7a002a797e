"""The models in a worker's memory: one, unless the user says that there is room for more."""

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
    """A model, and how many bytes were in use when it was loaded."""

    model: LoadedModel
    memory: int


def capacity() -> int:
    """How many models may be in memory at once; BadInput where the user's word for that is no such number."""
    text = os.environ.get(VARIABLE, "").strip() or "1"
    if not text.isdecimal() or not 1 <= int(text) <= MOST:
        raise BadInput(f"{VARIABLE} must be a whole number from 1 to {MOST}, got {text!r}")
    return int(text)


class ModelCache:
    """Loads models and keeps the ones that were used last."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._held: dict[object, CachedModel] = {}
        """By what they are, the one that was used last at the end."""
        self._told: object = None
        """The one that was told of last."""

    def release(self) -> None:
        """Lets go of all of them and their memory."""
        self._held.clear()
        self._told = None
        inference.release_memory()

    def get(
        self, version: ModelVersion, choice: EngineChoice, on_event: OnEvent, tell: Callable[..., None]
    ) -> CachedModel:
        """The model of a version, loaded if it is not there; old ones go before a new one comes.

        `choice` holds no `auto` any more; another number of threads needs no other model. `tell` hears what the
        memory holds, under the names of ModelStatus, whenever that becomes another model.
        """
        checkpoint = version.require_checkpoint()
        facts = checkpoint.stat()
        # How many threads compute is the process's business, not the model's.
        same = replace(choice, threads=0)
        wanted = (version.model_dump_json(), same, checkpoint, facts.st_size, facts.st_mtime_ns)
        engine = {"provider": choice.provider, "device": choice.device, "precision": choice.precision}
        status: dict[str, Any] = {"version": version.name, **engine}
        held = self._held.pop(wanted, None)
        if held is None:
            self._told = None
            tell(state="loading", **status)
            try:
                held = self._load_model(version, choice, on_event)
            except Cancelled:
                tell(state="none")
                raise
            except Exception as error:
                tell(state="failed", error=one_sentence(error), **status)
                raise
        self._held[wanted] = held
        inference.use_threads(choice.threads)
        if self._told != wanted:
            self._told = wanted
            size, advice = facts.st_size, held.model.advice
            tell(state="ready", done=size, total=size, memory=held.memory, advice=advice, **status)
        return held

    def _load_model(self, version: ModelVersion, choice: EngineChoice, on_event: OnEvent) -> CachedModel:
        # What the model that was used last shares with the new one stays; its network goes before the new one comes.
        spare: Parts = self._held[next(reversed(self._held))].model.parts if self._held else {}
        for old in list(self._held)[: max(len(self._held) + 1 - capacity(), 0)]:
            del self._held[old]
        inference.release_memory()
        model = None
        try:
            model = self._load(version, choice, on_event, spare)
        except OutOfMemory:
            if not self._held and not spare:
                raise
        if model is None:  # only here, after the error is gone, nothing refers to what was loaded so far
            spare = {}
            self.release()
            model = self._load(version, choice, on_event, spare)
        return CachedModel(model, inference.memory_in_use(choice.device))


def one_sentence(error: Exception) -> str:
    """An error as the user is told of it; one that was not foreseen with its type."""
    if isinstance(error, Img2VidError):
        return str(error)
    return " ".join(f"failed with {type(error).__name__}: {error}".split())
