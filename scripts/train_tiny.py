"""Trains the small checkpoints svd_tiny (14 frames) and svd_tiny_xt (25 frames) on a CPU, stage by stage.

python scripts/train_tiny.py --pictures DIR [--stage STAGE] [--minutes M]

Stages: autoencoder, temporal (its temporal decoder), video, longer (25 frames). Each can be stopped and is taken up
again where it was. Needs requirements/train.txt. checkpoints/README.md says what made the files that are shipped.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from img2vid import paths
from scripts.tiny.pictures import kept_apart_pictures, training_pictures
from scripts.tiny.stages import Recipe, Training

STAGES = ["autoencoder", "temporal", "video", "longer"]
EXPORTS = {"video": "svd_tiny.safetensors", "longer": "svd_tiny_xt.safetensors"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=[*STAGES, "all"], default="all")
    parser.add_argument("--minutes", type=float, default=600.0, help="at most so long for each stage")
    parser.add_argument("--pictures", type=Path, help="folder in which lomiri-wallpapers-16.04 was unpacked")
    parser.add_argument("--work", type=Path, default=paths.home() / "training", help="where the state is kept")
    parser.add_argument("--out", type=Path, default=paths.PROJECT / "checkpoints", help="where checkpoints are written")
    arguments = parser.parse_args()
    pictures, apart = training_pictures(arguments.pictures), kept_apart_pictures()
    print(f"{len(pictures)} pictures to train on, {len(apart)} kept apart", flush=True)
    for stage in STAGES if arguments.stage == "all" else [arguments.stage]:
        training = Training(paths.CONFIGS / "svd_tiny.yaml", arguments.work, Recipe())
        if stage != STAGES[0]:
            training.take_up(STAGES[STAGES.index(stage) - 1])
        training.run(stage, pictures, apart, arguments.minutes)
        if stage in EXPORTS:
            training.export(arguments.out / EXPORTS[stage])
            print(f"wrote {arguments.out / EXPORTS[stage]}", flush=True)


if __name__ == "__main__":
    main()
