"""Measures the savings and errors of the approximations against exact videos of the same seed, and prints a table.

python scripts/measure_approximations.py [--version svd_tiny] [--pictures DIR_OR_FILE...] [--save FILE.json]

CPU runs are timed in the CPU's own seconds, which other programs hardly affect; GPU runs by the clock.
Set OMP_NUM_THREADS=1 on a shared machine, because threads that wait for each other count as busy.
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from img2vid import paths
from img2vid.inference import EngineChoice
from img2vid.media.pictures import list_pictures, load_picture
from img2vid.versions import find_version

PICTURES = [paths.PROJECT / "assets" / name for name in ("brook.jpg", "dandelion.jpg")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", default="svd_tiny")
    parser.add_argument("--pictures", nargs="+", type=Path, default=PICTURES, help="image files or folders")
    parser.add_argument("--num-steps", type=int, help="steps of the exact run (default: the version's)")
    parser.add_argument("--samplers", action="store_true", help="compare only samplers, against a converged run")
    parser.add_argument("--only", default="", help="measure only variants whose name contains this")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--save", type=Path, help="write the measurements of every image to this JSON file")
    arguments = parser.parse_args()

    from scripts import approximations

    version = find_version(arguments.version)
    base = {} if arguments.num_steps is None else {"num_steps": arguments.num_steps}
    choice = EngineChoice(device=arguments.device, precision=arguments.precision)
    maker = approximations.Maker(version, choice, base)
    known = approximations.samplers if arguments.samplers else approximations.variants
    against = approximations.converged(maker.num_steps) if arguments.samplers else None
    chosen = [one for one in known(maker.num_steps) if arguments.only in one.name]
    rows: list[dict[str, object]] = []
    for path in list_pictures(arguments.pictures):
        picture = load_picture(path)
        for row in approximations.rows(lambda changed, picture=picture: maker.make(picture, changed), chosen, against):
            rows.append({"picture": path.stem, **row})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    print(approximations.table(approximations.averages(rows)))
    if arguments.save is not None:
        text = json.dumps({**maker.describe(), "rows": rows}, indent=1)
        arguments.save.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
