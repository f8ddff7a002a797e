"""The stages one after the other, and the checkpoint that comes out of them."""

import random
from dataclasses import dataclass
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from img2vid.engine.conditioner import FrameEncoder
from img2vid.engine.config import load_config
from img2vid.engine.model import SvdModel
from scripts.tiny.autoencoder import lend_weights, train_autoencoder, train_temporal_decoder
from scripts.tiny.scenes import make_scene
from scripts.tiny.video import start_still, train_video


@dataclass(frozen=True)
class Recipe:
    """How long each stage may take; the defaults made the checkpoints that ship with the project."""

    height: int = 96
    width: int = 160
    autoencoder_steps: int = 1600
    temporal_steps: int = 200
    video_steps: int = 1400
    longer_steps: int = 400
    seed: int = 1


class Training:
    """A model on its way through the stages; finished ones are read from `work` instead of being run again."""

    def __init__(self, config_path: Path, work: Path, recipe: Recipe) -> None:
        self.config = load_config(config_path)
        self.work, self.recipe = work, recipe
        torch.manual_seed(recipe.seed)
        self.model = SvdModel(self.config, config_path.parent)
        start_still(self.model.network)
        self.model.requires_grad_(False)

    def run(self, stage: str, pictures: list[Image.Image], apart: dict[str, Image.Image], minutes: float) -> None:
        """Runs one stage for at most so many minutes; the stages before it must have been finished."""
        steps = {
            "autoencoder": self._autoencoder,
            "temporal": self._temporal,
            "video": self._video,
            "longer": self._longer,
        }
        steps[stage](pictures, apart, minutes)
        torch.save(self.model.state_dict(), self.work / f"after_{stage}.pt")

    def take_up(self, stage: str) -> None:
        """Reads the model as it was after a finished stage."""
        self.model.load_state_dict(torch.load(self.work / f"after_{stage}.pt", weights_only=True))

    def _autoencoder(self, pictures: list[Image.Image], apart: dict[str, Image.Image], minutes: float) -> None:
        r = self.recipe
        trained = train_autoencoder(
            self.config, pictures, apart, self.work, steps=r.autoencoder_steps, minutes=minutes, seed=r.seed
        )
        frame_encoder = self.model.conditioner.embedder("cond_frames")
        assert isinstance(frame_encoder, FrameEncoder)
        lend_weights(trained, frame_encoder.encoder, self.model.first_stage_model)

    def _temporal(self, pictures: list[Image.Image], apart: dict[str, Image.Image], minutes: float) -> None:
        r = self.recipe

        def clip_of(rng: random.Random) -> Tensor:
            bucket, fps = rng.uniform(0, 255), rng.uniform(4, 30)
            return make_scene(pictures, rng, num_frames=4, height=64, width=96, motion_bucket_id=bucket, fps=fps)

        train_temporal_decoder(
            self.model.first_stage_model,
            clip_of,
            apart,
            self.work,
            steps=r.temporal_steps,
            minutes=minutes,
            seed=r.seed,
        )

    def _video(self, pictures: list[Image.Image], apart: dict[str, Image.Image], minutes: float) -> None:
        self._train_video(pictures, "video", 14, self.recipe.video_steps, minutes, 5e-4)

    def _longer(self, pictures: list[Image.Image], apart: dict[str, Image.Image], minutes: float) -> None:
        self._train_video(pictures, "longer", 25, self.recipe.longer_steps, minutes, 1e-4)

    def _train_video(
        self, pictures: list[Image.Image], name: str, num_frames: int, steps: int, minutes: float, rate: float
    ) -> None:
        r = self.recipe
        train_video(
            self.model,
            pictures,
            self.work,
            name=name,
            size=(num_frames, r.height, r.width),
            steps=steps,
            minutes=minutes,
            rate=rate,
            seed=r.seed,
        )

    def export(self, path: Path) -> None:
        """Writes the checkpoint in float16, without the parts that sampling does not use; whole or not at all."""
        self.model.forget_unused()
        weights = {name: tensor.detach().half().contiguous() for name, tensor in self.model.weights().items()}
        part = path.with_suffix(".part")
        save_file(weights, part)
        part.replace(path)
