"""Trains the small checkpoints svd_tiny (14 frames) and svd_tiny_xt (25 frames), stage by stage, on a CPU or with CUDA.

python scripts/train_tiny.py --pictures DIR [--stage STAGE] [--minutes M] [--device cuda --batches 32]

Stages: autoencoder; temporal (its temporal decoder); half (video of half the width and height); video; longer (25
frames). Each stage can be stopped and resumed; its log is log.jsonl in the folder of --work. With
--begin-from CHECKPOINT, one --stage continues from a finished checkpoint without that folder. Needs
requirements/train.txt. checkpoints/README.md describes how the shipped files were trained.
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
    parser.add_argument("--minutes", type=float, default=600.0, help="maximum minutes per stage")
    parser.add_argument("--pictures", type=Path, help="folder with the unpacked lomiri-wallpapers packages")
    parser.add_argument("--work", type=Path, default=paths.home() / "training", help="folder for the training state")
    parser.add_argument("--out", type=Path, default=paths.PROJECT / "checkpoints", help="folder for the checkpoints")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--batches", type=int, default=1, help="batch size multiplier, for CUDA")
    parser.add_argument("--begin-from", type=Path, help="checkpoint to continue from, with one --stage of the network")
    arguments = parser.parse_args()
    if arguments.begin_from is not None and arguments.stage in ("all", *STAGES[:2]):
        parser.error(f"--begin-from needs --stage with one of {', '.join(STAGES[2:])}")
    keep_freed_memory()
    pictures, apart = training_pictures(arguments.pictures), kept_apart_pictures()
    print(f"{len(pictures)} training images, {len(apart)} held out", flush=True)
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
