"""Comparison of engines on the same clip: alternating timed runs of each stage, then memory in separate processes."""

import shlex
import tempfile
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import img2vid
from img2vid.bench.figures import Measured, Part, floor_of, take_turns
from img2vid.bench.report import Report, Stage
from img2vid.bench.request import Request
from img2vid.engine.bench.backends import Model, Shape
from img2vid.engine.bench.memory_probe import Cost, ProbeRequest, measure
from img2vid.engine.bench.middle_size import write_middle
from img2vid.engine.bench.operations import Work
from img2vid.engine.bench.rates import Rates
from img2vid.engine.bench.session import Session, describe_machine
from img2vid.engine.loading import make_device, resolve
from img2vid.engine.memory.device import release
from img2vid.engine.weights.random import write_random_checkpoint
from img2vid.errors import EngineUnavailable, Img2VidError
from img2vid.files import whole_file
from img2vid.options import NATIVE_ONLY, Precision
from img2vid.paths import require_writable

Say = Callable[[str], None]
Measure = Callable[[ProbeRequest], Cost]


def compare_engines(request: Request, argv: list[str], say: Say, measure_cost: Measure = measure) -> Report:
    """Run a comparison. argv: command line for the report; say: callback for progress messages.

    measure_cost: function that runs a probe in a separate process.
    """
    with model_of(request, say) as model:
        say(f"loading {', '.join(request.engines)}")
        shape = shape_of(request)
        session = Session(request.engines, model, shape)
        if not session.backends:
            reasons = "; ".join(f"{name}: {reason}" for name, reason in session.left_out.items())
            raise EngineUnavailable(f"no engine can be measured; {reasons}")
        facts = facts_of(request, model, argv)
        stages, rates = _compare(session, request, say)
        session.backends.clear()
        release()  # the probe processes may need all of the memory
        notes: list[str] = []
        if request.peaks:
            stages = [_with_peaks(stage, request, model, shape, say, notes, measure_cost) for stage in stages]
    plain_rates = {precision: vars(found) for precision, found in rates.items()}
    return Report(facts, session.left_out, plain_rates, stages, notes)


def _compare(session: Session, request: Request, say: Say) -> tuple[list[Stage], dict[str, Rates]]:
    say("measuring the peak rates of the machine")
    work = session.work()
    needed = dict.fromkeys(part.precision for stage in request.stages for part in work[stage])
    rates = session.rates(list(needed))
    stages: list[Stage] = []
    for name in request.stages:
        say(f"{name}: warming up")
        warm = session.warm_up(name, request.warm_up)
        say(f"{name}: measuring {', '.join(warm.runs)} alternately")
        seconds = take_turns(warm.runs, request.repetitions, session.synchronise)
        counted_on = "the plain modules" if warm.operations is None else "sgm"
        floor = floor_of(_parts(work[name], rates), warm.operations, counted_on)
        measured = {engine: Measured(tuple(taken)) for engine, taken in seconds.items()}
        stages.append(Stage(name, floor, measured, warm.difference))
    return stages, rates


def _parts(work: list[Work], rates: Mapping[str, Rates]) -> list[Part]:
    return [Part(w.operations, w.bytes, rates[w.precision].product, rates[w.precision].copy) for w in work]


def _with_peaks(
    stage: Stage, request: Request, model: Model, shape: Shape, say: Say, notes: list[str], measure_cost: Measure
) -> Stage:
    """Return the stage with the memory of each engine; append a note for each engine whose probe fails."""
    engines: dict[str, Measured] = {}
    for name, measured in stage.engines.items():
        say(f"{stage.name}: measuring the memory of {name}")
        try:
            probe = ProbeRequest(name, model, shape, (stage.name,))
            costs = sorted((measure_cost(probe) for _ in range(request.peaks)), key=lambda cost: cost.growth or 0)
            middle = costs[(len(costs) - 1) // 2]
            engines[name] = Measured(measured.seconds, middle.peak, middle.growth)
        except Img2VidError as error:
            notes.append(f"memory of {name} in stage {stage.name} is unknown: {error}")
            engines[name] = measured
    return Stage(stage.name, stage.floor, engines, stage.difference)


def shape_of(request: Request) -> Shape:
    """Return the workload of a request."""
    s = request.settings
    return Shape(s.width, s.height, s.num_frames, min(s.decode_t, s.num_frames), request.steps)


@contextmanager
def model_of(request: Request, say: Say) -> Generator[Model, None, None]:
    """Provide the model's files. Random checkpoints are deleted after the block unless `request.keep` is a folder."""
    options = resolve(request.options)
    make_device(options.device)  # reject a missing device before writing gigabytes
    if request.keep is not None:
        require_writable(request.keep)
    with tempfile.TemporaryDirectory(prefix="img2vid_bench_") as temporary:
        folder = Path(temporary) if request.keep is None else request.keep
        config, checkpoint = _files(request, folder, say)
        comfyui = "" if request.comfyui is None else str(request.comfyui.absolute())
        yield Model(str(config), str(checkpoint), options, comfyui)


def _files(request: Request, folder: Path, say: Say) -> tuple[Path, Path]:
    if request.size == "tiny":
        return request.version.config_path, request.version.require_checkpoint()
    if request.size == "middle":
        config = write_middle(request.version.config_path, folder)
        return config, _random_checkpoint(config, folder / "middle.safetensors", "fp32", say)
    config = request.version.config_path
    # float16 halves disk space and loading time; all engines get the same weights.
    return config, _random_checkpoint(config, folder / f"{request.version.name}_random.safetensors", "fp16", say)


def _random_checkpoint(config: Path, path: Path, precision: Precision, say: Say) -> Path:
    if not path.is_file():
        say(f"writing random weights to {path}")
        with whole_file(path) as part:
            write_random_checkpoint(config, part, 0, precision)
    return path


def facts_of(request: Request, model: Model, argv: list[str]) -> dict[str, Any]:
    """Return the facts of a report: program, date, command, machine, precision and size."""
    shape = shape_of(request)
    return {
        "program": f"img2vid {img2vid.__version__}",
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": shlex.join(argv),
        **describe_machine(model.options.device),
        "precision": model.options.precision,
        "options": {name: getattr(model.options, name) for name in NATIVE_ONLY},
        "size": {"name": request.size, "version": request.version.name, **vars(shape)},
        "engines": list(request.engines),
        "repetitions": request.repetitions,
        "warm_up": request.warm_up,
        "peaks": request.peaks,
    }
