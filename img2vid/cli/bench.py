"""The command `img2vid bench`: engines side by side on this machine, or how the cost of the native one grows."""

import argparse
import sys
from pathlib import Path
from typing import Any

from img2vid import paths
from img2vid.bench.request import (
    AXES,
    ENGINES,
    PRECISIONS,
    SIZES,
    STAGES,
    Request,
    choose_size,
    split_list,
    whole_number,
)
from img2vid.errors import BadInput

DESCRIPTION = """Measures how long each engine takes for a stage of the same clip and how much memory it needs, and
compares both with the least that this machine could need. Engines take turns; one that is not installed is left out
and named. Checkpoints of the sizes middle and full are random numbers."""
NATIVE_OPTIONS = ("memory", "decoder_precision", "compile")


def add_bench(commands: Any) -> None:
    """Adds the subcommand to argparse's subparsers."""
    parser = commands.add_parser(
        "bench", help="measure the engines on this computer", description=DESCRIPTION, allow_abbrev=False
    )
    parser.set_defaults(command=bench)
    what = parser.add_argument_group("what is measured")
    what.add_argument("--size", choices=tuple(SIZES), default="tiny", help="the model and the clip (default: tiny)")
    what.add_argument("--version", metavar="NAME", help="with --size full: which model (default: svd)")
    what.add_argument("--engines", default=",".join(ENGINES), metavar="NAMES", help="default: %(default)s")
    what.add_argument("--stages", default=",".join(STAGES), metavar="NAMES", help="default: %(default)s")
    for name, text in (
        ("width", "width of the clip in pixels"),
        ("height", "height of the clip in pixels"),
        ("num-frames", "frames of the clip"),
        ("decode-t", "frames decoded at a time"),
    ):
        what.add_argument(f"--{name}", metavar="N", help=f"{text} (default: of the size)")
    what.add_argument("--steps", default="1", metavar="N", help="guided steps in one run of `step` (default: 1)")
    what.add_argument("--growth", metavar="AXES", help=f"instead: the native engine over a range of {', '.join(AXES)}")
    how = parser.add_argument_group("how it is measured")
    how.add_argument("--repetitions", default="5", metavar="N", help="runs that count, of each engine (default: 5)")
    how.add_argument("--warm-up", default="1", metavar="N", help="runs before them (default: 1)")
    how.add_argument(
        "--peaks", default="1", metavar="N", help="processes that measure the memory of each row; 0: none (default: 1)"
    )
    how.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto (default: auto)")
    how.add_argument("--precision", default="auto", choices=PRECISIONS, help="of the network (default: auto)")
    how.add_argument("--threads", default="0", metavar="N", help="threads of torch; 0: its own choice (default: 0)")
    how.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep checkpoints of random numbers here and use them again"
    )
    native = parser.add_argument_group("the native engine alone")
    native.add_argument("--memory", metavar="PLAN", help="its memory plan")
    native.add_argument("--decoder-precision", metavar="FORMAT", help="its decoder's number format")
    native.add_argument("--compile", action="store_true", default=None, help="compile its network with torch.compile")
    out = parser.add_argument_group("what comes out")
    out.add_argument("--json", type=Path, metavar="FILE", help="also write all figures to this file")
    out.add_argument("--markdown", action="store_true", help="print Markdown")
    out.add_argument(
        "--plots", type=Path, metavar="DIR", help="with --growth: folder of the plots (default: beside --json)"
    )


def bench(arguments: argparse.Namespace) -> int:
    """Measures and prints; everything that can be checked is checked before anything is loaded."""
    request = read_request(arguments)
    axes = () if arguments.growth is None else split_list("--growth", arguments.growth, AXES)
    if arguments.plots is not None and not axes:
        raise BadInput("--plots belongs to --growth; add --growth frames,area or leave it out")
    if axes and arguments.json is None:
        raise BadInput("--growth writes its figures to a file; name one, such as --json growth.json")
    if arguments.json is not None:
        if arguments.json.is_dir():
            raise BadInput(
                f"--json must name a file, and {arguments.json} is a folder; try {arguments.json}/bench.json"
            )
        paths.require_writable(arguments.json.parent)
    if axes:
        return _grow(request, axes, arguments)
    from img2vid.bench.benchmark import compare_engines
    from img2vid.bench.report import as_json, as_markdown, print_table, write_report

    report = compare_engines(request, _argv(), _say)
    if arguments.json is not None:
        write_report(arguments.json, as_json(report))
    if arguments.markdown:
        sys.stdout.write(as_markdown(report))
    else:
        print_table(report)
    return 0


def _grow(request: Request, axes: tuple[str, ...], arguments: argparse.Namespace) -> int:
    """Measures growth; where matplotlib is missing, that is told at once, and the figures are written without plots."""
    from img2vid.bench.growth import UNITS, measure_growth
    from img2vid.bench.plots import HOW, can_plot, write_plots
    from img2vid.bench.report import write_report

    folder = arguments.json.parent if arguments.plots is None else arguments.plots
    paths.require_writable(folder)
    plotting = can_plot()
    if not plotting:
        _say(f"only the figures will be written, for {HOW}")
    found = measure_growth(request, axes, _argv(), _say)
    write_report(arguments.json, found)
    written = [arguments.json, *(write_plots(found, UNITS, folder) if plotting else [])]
    sys.stdout.writelines(f"{path}\n" for path in written)
    return 0


def read_request(arguments: argparse.Namespace) -> Request:
    """The request, or BadInput for a value that will not do."""
    names = ("width", "height", "num_frames", "decode_t")
    overrides = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    version, settings = choose_size(arguments.size, arguments.version, overrides)
    given = {name: getattr(arguments, name) for name in NATIVE_OPTIONS}
    return Request(
        size=arguments.size,
        version=version,
        settings=settings,
        engines=split_list("--engines", arguments.engines, ENGINES),
        stages=split_list("--stages", arguments.stages, STAGES),
        device=arguments.device,
        precision=arguments.precision,
        repetitions=whole_number("--repetitions", arguments.repetitions, 1, 1000),
        warm_up=whole_number("--warm-up", arguments.warm_up, 1, 100),
        steps=whole_number("--steps", arguments.steps, 1, 1000),
        threads=whole_number("--threads", arguments.threads, 0, 1024),
        peaks=whole_number("--peaks", arguments.peaks, 0, 100),
        keep=arguments.keep,
        options={name: value for name, value in given.items() if value is not None},
    )


def _argv() -> list[str]:
    """The command, to be written beside its figures."""
    return ["img2vid", *sys.argv[1:]] if sys.argv[1:2] == ["bench"] else [Path(sys.argv[0]).name, *sys.argv[1:]]


def _say(text: str) -> None:
    """Where it is: standard output is for the figures."""
    sys.stderr.write(f"bench: {text}\n")
    sys.stderr.flush()
