"""Trains the small checkpoints svd_tiny (14 frames) and svd_tiny_xt (25 frames), or evaluates one of them.

.venv/bin/python scripts/training train --pictures DIR [--stage STAGE] [--minutes M] [--device cuda --batches 32]
.venv/bin/python scripts/training evaluate [--version svd_tiny] [--sheet FILE.png] [--save FILE.json]

Training stages: autoencoder; temporal (its temporal decoder); half (video of half the width and height); video; longer
(25 frames). Each can be stopped and resumed; its log is log.jsonl in the folder of --work. With --begin-from, one
--stage continues from a finished checkpoint without that folder. Evaluation renders each held-out image with the
version's own settings, then with another motion bucket, frame rate or seed.

Needs requirements/train.txt. checkpoints/README.md describes how the included files were trained.
"""

import argparse
import json
import sys
from pathlib import Path

from img2vid import paths

EXPORTS = {"video": "svd_tiny.safetensors", "longer": "svd_tiny_xt.safetensors"}


def train(arguments: argparse.Namespace) -> None:
    """Run the chosen stages and export the checkpoints."""
    from img2vid.engine.memory.device import keep_freed_memory
    from training.pictures import kept_apart_pictures, training_pictures
    from training.stages import BEFORE, STAGES, Recipe, Training

    if arguments.begin_from is not None and arguments.stage in ("all", *STAGES[:2]):
        arguments.error(f"--begin-from needs --stage with one of {', '.join(STAGES[2:])}")
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


def evaluate(arguments: argparse.Namespace) -> None:
    """Print the metrics and, to stderr, whether each target is reached."""
    from training.evaluation import Evaluation, verdict

    evaluation = Evaluation(arguments.version)
    numbers = evaluation.numbers(lambda line: print(line, file=sys.stderr, flush=True))
    text = json.dumps(numbers, indent=2)
    print(text)
    for line in verdict(numbers["all"]):
        print(line, file=sys.stderr)
    if arguments.save is not None:
        arguments.save.write_text(text + "\n", encoding="utf-8")
    if arguments.sheet is not None:
        evaluation.sheet().save(arguments.sheet)


def main() -> None:
    from training.stages import STAGES

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    add = commands.add_parser("train", help="train stage by stage, on a CPU or with CUDA").add_argument
    add("--stage", choices=[*STAGES, "all"], default="all")
    add("--minutes", type=float, default=600.0, help="maximum minutes per stage")
    add("--pictures", type=Path, help="folder with the unpacked lomiri-wallpapers packages")
    add("--work", type=Path, default=paths.home() / "training", help="folder for the training state")
    add("--out", type=Path, default=paths.PROJECT / "checkpoints", help="folder for the checkpoints")
    add("--device", choices=["cpu", "cuda"], default="cpu")
    add("--batches", type=int, default=1, help="batch size multiplier, for CUDA")
    add("--begin-from", type=Path, help="checkpoint to continue from, with one --stage of the network")
    commands.choices["train"].set_defaults(command=train, error=commands.choices["train"].error)
    add = commands.add_parser("evaluate", help="print the metrics on the held-out images as JSON").add_argument
    add("--version", default="svd_tiny")
    add("--sheet", type=Path, help="write the inputs and every third frame of the videos to this file")
    add("--save", type=Path, help="also write the metrics to this file")
    commands.choices["evaluate"].set_defaults(command=evaluate)
    arguments = parser.parse_args()
    arguments.command(arguments)


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parent.parent)
    from environment import escape_output

    escape_output()
    main()
