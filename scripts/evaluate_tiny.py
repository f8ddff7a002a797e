"""Evaluates a small checkpoint on the held-out images and prints the metrics as JSON.

python scripts/evaluate_tiny.py [--version svd_tiny] [--sheet FILE.png] [--save FILE.json]

Each image is rendered with the version's own settings; further clips change the motion bucket, frame rate or seed.
The contact sheet shows, for each image, the model's input and every third frame of its video.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.tiny.evaluation import Evaluation, verdict


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", default="svd_tiny")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet to this file")
    parser.add_argument("--save", type=Path, help="also write the metrics to this file")
    arguments = parser.parse_args()
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


if __name__ == "__main__":
    main()
