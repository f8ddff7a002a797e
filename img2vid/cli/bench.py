"""The `img2vid bench` command: compare the engines on this machine, or measure how the native engine's cost grows."""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from img2vid import paths
from img2vid.bench.request import (
    AXES,
    ENGINES,
    SIZES,
    STAGES,
    Request,
    choose_engines,
    choose_size,
    split_list,
)
from img2vid.cli.options import path_given
from img2vid.cli.output import say
from img2vid.errors import BadInput
from img2vid.options import CHOICES, MOST_THREADS, NATIVE_ONLY, LoadOptions, whole_number

DESCRIPTION = """Measure the time and memory each engine needs for every stage of the same clip, and compare both
with the theoretical minimum on this machine. Runs alternate between engines. Engines that are not installed are
skipped and listed. Checkpoints for the sizes middle and full contain random weights."""
_say = partial(say, sender="bench")


def add_bench(commands: Any) -> None:
    """Add the subcommand to argparse's subparsers."""
    parser = commands.add_parser(
        "bench", help="measure engine speed and memory on this computer", description=DESCRIPTION, allow_abbrev=False
    )
    parser.set_defaults(command=bench)
    workload = parser.add_argument_group("workload")
    workload.add_argument("--size", choices=tuple(SIZES), default="tiny", help="model and clip size (default: tiny)")
    workload.add_argument("--version", metavar="NAME", help="model version, only with --size full (default: svd)")
    text = f"comma-separated (default: all of {', '.join(ENGINES)}; the last one needs its folder)"
    workload.add_argument("--engines", metavar="NAMES", help=text)
    workload.add_argument("--comfyui", type=path_given, metavar="FOLDER", help="ComfyUI's folder, to compare it too")
    workload.add_argument(
        "--stages", default=",".join(STAGES), metavar="NAMES", help="comma-separated (default: %(default)s)"
    )
    for name, text in (
        ("width", "clip width in pixels"),
        ("height", "clip height in pixels"),
        ("num-frames", "number of frames"),
        ("decode-t", "frames decoded at a time"),
    ):
        workload.add_argument(f"--{name}", metavar="N", help=f"{text} (default: set by --size)")
    workload.add_argument(
        "--steps", default="1", metavar="N", help="guided steps per run of the stage step (default: 1)"
    )
    workload.add_argument(
        "--growth", metavar="AXES", help=f"measure only the native engine, over a range of {', '.join(AXES)}"
    )
    measurement = parser.add_argument_group("measurement")
    measurement.add_argument("--repetitions", default="5", metavar="N", help="measured runs per engine (default: 5)")
    measurement.add_argument("--warm-up", default="1", metavar="N", help="unmeasured runs before them (default: 1)")
    measurement.add_argument(
        "--peaks",
        default="1",
        metavar="N",
        help="processes that measure the peak memory of each row; 0 disables (default: 1)",
    )
    measurement.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps or auto (default: auto)")
    measurement.add_argument(
        "--precision", default="auto", choices=CHOICES["precision"], help="number format of the network (default: auto)"
    )
    measurement.add_argument(
        "--threads", default="0", metavar="N", help="CPU threads; 0 uses PyTorch's default (default: 0)"
    )
    measurement.add_argument("--keep", type=path_given, metavar="DIR", help="keep and reuse the checkpoints here")
    native = parser.add_argument_group("native engine only")
    native.add_argument("--memory", metavar="PLAN", help="memory plan")
    native.add_argument("--decoder-precision", metavar="FORMAT", help="number format of the decoder")
    native.add_argument("--compile", action="store_true", default=None, help="compile the network with torch.compile")
    out = parser.add_argument_group("output")
    out.add_argument("--json", type=path_given, metavar="FILE", help="also write all measurements to this file")
    out.add_argument("--markdown", action="store_true", help="print Markdown")
    out.add_argument(
        "--plots",
        type=path_given,
        metavar="DIR",
        help="folder for the plots, only with --growth (default: next to --json)",
    )


def bench(arguments: argparse.Namespace) -> int:
    """Run the benchmark and print its report. All arguments are validated before anything is loaded."""
    request = read_request(arguments)
    axes = () if arguments.growth is None else split_list("--growth", arguments.growth, AXES)
    if arguments.plots is not None and not axes:
        raise BadInput("--plots needs --growth; add --growth frames,area or remove --plots")
    if axes and arguments.json is None:
        raise BadInput("--growth needs an output file; add one, such as --json growth.json")
    if arguments.json is not None:
        if arguments.json.is_dir():
            raise BadInput(f"--json must be a file, but {arguments.json} is a folder; try {arguments.json}/bench.json")
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
    """Measure growth and write the results. If matplotlib is missing, warn before measuring and skip the plots."""
    from img2vid.bench.growth import UNITS, measure_growth
    from img2vid.bench.plots import MATPLOTLIB_HINT, can_plot, write_plots
    from img2vid.bench.report import write_report

    folder = arguments.json.parent if arguments.plots is None else arguments.plots
    paths.require_writable(folder)
    plotting = can_plot()
    if not plotting:
        _say(f"plots are skipped: {MATPLOTLIB_HINT}")
    found = measure_growth(request, axes, _argv(), _say)
    write_report(arguments.json, found)
    written = [arguments.json, *(write_plots(found, UNITS, folder) if plotting else [])]
    sys.stdout.writelines(f"{path}\n" for path in written)
    return 0


def read_request(arguments: argparse.Namespace) -> Request:
    """Return the validated request. Raise BadInput for an invalid value."""
    names = ("width", "height", "num_frames", "decode_t")
    overrides = {name: getattr(arguments, name) for name in names if getattr(arguments, name) is not None}
    version, settings = choose_size(arguments.size, arguments.version, overrides)
    given = {name: getattr(arguments, name) for name in NATIVE_ONLY if getattr(arguments, name) is not None}
    threads = whole_number("--threads", arguments.threads, 0, MOST_THREADS)
    options = LoadOptions(
        device=arguments.device, precision=arguments.precision, threads=threads, **{**NATIVE_ONLY, **given}
    )
    options.check()
    return Request(
        size=arguments.size,
        version=version,
        settings=settings,
        engines=choose_engines(arguments.engines, arguments.comfyui),
        stages=split_list("--stages", arguments.stages, STAGES),
        repetitions=whole_number("--repetitions", arguments.repetitions, 1, 1000),
        warm_up=whole_number("--warm-up", arguments.warm_up, 1, 100),
        steps=whole_number("--steps", arguments.steps, 1, 1000),
        peaks=whole_number("--peaks", arguments.peaks, 0, 100),
        keep=arguments.keep,
        options=options,
        comfyui=arguments.comfyui,
    )


def _argv() -> list[str]:
    """Return the command line as recorded in the report."""
    return ["img2vid", *sys.argv[1:]] if sys.argv[1:2] == ["bench"] else [Path(sys.argv[0]).name, *sys.argv[1:]]
