"""The training stages in order, and the exported checkpoint."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from img2vid.engine.conditioner import FrameEncoder
from img2vid.engine.config import load_config
from img2vid.engine.model import SvdModel
from img2vid.files import whole_file
from training.autoencoder import lend_weights, train_autoencoder, train_temporal_decoder
from training.clips import Size
from training.scenes import make_scene
from training.start import start_still
from training.video import VideoStage, train_network

HALF, WHOLE, LONGER = Size(14, 48, 80), Size(14, 96, 160), Size(25, 48, 80)


@dataclass(frozen=True)
class Recipe:
    """Lengths of the stages; the defaults made the shipped checkpoints."""

    autoencoder_steps: int = 3600
    temporal_steps: int = 400
    network: tuple[VideoStage, ...] = field(
        default=(
            VideoStage("half", "temporal", HALF, 4, 1950, 4e-4, 0.08, fresh=0.5, quick=750),
            VideoStage("video", "half", WHOLE, 1, 800, 1.5e-4, 0.05, fresh=0.25, kept=0.5),
            VideoStage("longer", "half", LONGER, 2, 113, 1e-4, 0.05, fresh=0.25),
        )
    )
    seed: int = 1


BEFORE = {"temporal": "autoencoder", **{stage.name: stage.after for stage in Recipe().network}}
"""Predecessor of each stage except the first."""
STAGES = ("autoencoder", *BEFORE)
"""All stages in order."""


class Training:
    """A model during training; results of finished stages are stored in `work`."""

    def __init__(self, config_path: Path, work: Path, recipe: Recipe, *, device: str = "cpu", batches: int = 1) -> None:
        self.config = load_config(config_path)
        self.work, self.recipe, self.batches = work, recipe, batches
        self.device = torch.device(device)
        torch.manual_seed(recipe.seed)
        self.model = SvdModel(self.config, config_path.parent)
        start_still(self.model.network)
        self.model.requires_grad_(False)
        self.model.to(self.device)

    def run(self, stage: str, pictures: list[Image.Image], apart: dict[str, Image.Image], minutes: float) -> None:
        """Run one stage for at most that many minutes. The stages before it must be finished."""
        if stage == "autoencoder":
            self._autoencoder(pictures, apart, minutes)
        elif stage == "temporal":
            self._temporal(pictures, apart, minutes)
        else:
            plan = next(plan for plan in self.recipe.network if plan.name == stage)
            plan = replace(plan, batch=plan.batch * self.batches)
            train_network(self.model, pictures, apart.values(), self.work, plan, minutes=minutes, seed=self.recipe.seed)
        torch.save(self.model.state_dict(), self._after(stage))

    def take_up(self, stage: str) -> None:
        """Load the model of a finished stage."""
        self.model.load_state_dict(torch.load(self._after(stage), weights_only=True, map_location=self.device))

    def begin_from(self, checkpoint: Path) -> None:
        """Load the weights of a finished checkpoint. Missing ones are only needed by the first two stages."""
        weights = {name: tensor.float() for name, tensor in load_file(checkpoint).items()}
        _, unexpected = self.model.load_state_dict(weights, strict=False)
        assert not unexpected, unexpected

    def _after(self, stage: str) -> Path:
        return self.work / f"after_{stage}.pt"

    def _autoencoder(self, pictures: list[Image.Image], apart: dict[str, Image.Image], minutes: float) -> None:
        trained = train_autoencoder(
            self.config,
            pictures,
            apart,
            self.work,
            steps=self.recipe.autoencoder_steps,
            minutes=minutes,
            seed=self.recipe.seed,
            device=self.device,
            batches=self.batches,
        )
        frame_encoder = self.model.conditioner.embedder("cond_frames")
        assert isinstance(frame_encoder, FrameEncoder)
        lend_weights(trained, frame_encoder.encoder, self.model.first_stage_model)

    def _temporal(self, pictures: list[Image.Image], apart: dict[str, Image.Image], minutes: float) -> None:
        train_temporal_decoder(
            self.model.first_stage_model,
            scenes_for_decoder(pictures),
            apart,
            self.work,
            steps=self.recipe.temporal_steps,
            minutes=minutes,
            seed=self.recipe.seed,
        )

    def export(self, path: Path) -> None:
        """Write the checkpoint atomically in float16, without the parts that sampling does not use."""
        self.model.drop_unused()
        weights = {name: tensor.detach().half().cpu().contiguous() for name, tensor in self.model.weights().items()}
        with whole_file(path) as part:
            save_file(weights, part)


def scenes_for_decoder(pictures: list[Image.Image]) -> Callable[[random.Random], Tensor]:
    """Return a function that makes short clips (4, 3, 64, 96) with all kinds of motion."""

    def clip_of(rng: random.Random) -> Tensor:
        bucket, fps = rng.uniform(0, 255), rng.uniform(4, 30)
        return make_scene(pictures, rng, num_frames=4, height=64, width=96, motion_bucket_id=bucket, fps=fps)

    return clip_of
