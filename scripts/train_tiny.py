"""Trains the small checkpoints svd_tiny (14 frames) and svd_tiny_xt (25 frames), stage by stage, on a CPU or with CUDA.

python scripts/train_tiny.py --pictures DIR [--stage STAGE] [--minutes M] [--device cuda --batches 32]

Stages: autoencoder; temporal (its temporal decoder); half (video of half the width and height); video; longer (25
frames). Each can be stopped and is taken up again where it was; its log is log.jsonl in the folder of --work. With
--begin-from CHECKPOINT, one --stage goes on from a finished checkpoint without that folder. Needs
requirements/train.txt. checkpoints/README.md says what made the files that are shipped.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from img2vid import paths
from img2vid.engine.memory.device import keep_freed_memory
from scripts.tiny.pictures import kept_apart_pictures, training_pictures
from scripts.tiny.stages import BEFORE, STAGES, Recipe, Training

EXPORTS = {"video": "svd_tiny.safetensors", "longer": "svd_tiny_xt.safetensors"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stage", choices=[*STAGES, "all"], default="all")
    parser.add_argument("--minutes", type=float, default=600.0, help="at most so long for each stage")
    parser.add_argument("--pictures", type=Path, help="folder in which the lomiri-wallpapers packages were unpacked")
    parser.add_argument("--work", type=Path, default=paths.home() / "training", help="where the state is kept")
    parser.add_argument("--out", type=Path, default=paths.PROJECT / "checkpoints", help="where checkpoints are written")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--batches", type=int, default=1, help="how many times larger the batches are; for CUDA")
    parser.add_argument("--begin-from", type=Path, help="checkpoint to go on from, with one --stage of the network's")
    arguments = parser.parse_args()
    if arguments.begin_from is not None and arguments.stage in ("all", *STAGES[:2]):
        parser.error(f"--begin-from needs --stage with one of {', '.join(STAGES[2:])}")
    keep_freed_memory()
    pictures, apart = training_pictures(arguments.pictures), kept_apart_pictures()
    print(f"{len(pictures)} pictures to train on, {len(apart)} kept apart", flush=True)
    for stage in STAGES if arguments.stage == "all" else [arguments.stage]:
        config = paths.CONFIGS / "svd_tiny.yaml"
        training = Training(config, arguments.work, Recipe(), device=arguments.device, batches=arguments.batches)
        if arguments.begin_from is not None:
            training.begin_from(arguments.begin_from)
        elif stage != STAGES[0]:
            training.take_up(BEFORE[stage])
        training.run(stage, pictures, apart, arguments.minutes)
        if stage in EXPORTS:
            training.export(arguments.out / EXPORTS[stage])
            print(f"wrote {arguments.out / EXPORTS[stage]}", flush=True)


if __name__ == "__main__":
    main()
