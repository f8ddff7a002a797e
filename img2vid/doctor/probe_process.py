"""Checks of torch, the checkpoints and sgm in a subprocess, so that a crash in them cannot end the doctor.

The subprocess, `python -m img2vid.doctor.probe_process`, prints one line of JSON per topic as soon as it is known.
Results printed before a crash are kept. The remaining topics get the exit status as their reason.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from img2vid import paths
from img2vid.errors import EngineUnavailable

TIMEOUT = 240.0
"""Seconds for all topics; the first import of torch after an installation can take minutes on a slow disk."""


@dataclass(frozen=True)
class Question:
    """Installed checkpoint and the configuration that it must match."""

    version: str
    config: Path
    checkpoint: Path
    unet: Path | None = None


@dataclass(frozen=True)
class Answers:
    """Facts by topic ("torch", "processor", "sgm", "checkpoint NAME"), and error messages of failed topics."""

    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reasons: Mapping[str, str] = field(default_factory=dict[str, str])
    ended: str = ""
    """Description of an abnormal exit of the subprocess, or empty."""

    def reason(self, topic: str) -> str:
        """Return the reason for missing facts about a topic."""
        if topic != "torch" and "torch" not in self.facts:
            return "torch does not work, see above"
        return self.reasons.get(topic) or self.ended or "no result"


def run_probe(questions: Sequence[Question]) -> Answers:
    """Run the subprocess and collect its results."""
    request = json.dumps([[one.version, *map(str, (one.config, one.checkpoint, one.unet or ""))] for one in questions])
    inherited = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    # UTF-8 regardless of the console: Windows pipes default to a legacy code page.
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(paths.PROJECT), *inherited]),
        "PYTHONIOENCODING": "utf-8",
    }
    command = [sys.executable, "-m", "img2vid.doctor.probe_process"]
    try:
        done = subprocess.run(
            command, input=request.encode(), capture_output=True, env=environment, timeout=TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as error:
        said = read_answers(error.stdout or b"")
        return Answers(said.facts, said.reasons, f"Python did not finish within {TIMEOUT:.0f} seconds")
    except OSError as error:
        return Answers(ended=f"Python could not be started ({error.strerror or error})")
    said = read_answers(done.stdout)
    return Answers(said.facts, said.reasons, _ending(done.returncode, done.stderr))


def read_answers(said: bytes) -> Answers:
    """Parse the subprocess output, skipping other text and incomplete lines."""
    facts: dict[str, Any] = {}
    reasons: dict[str, str] = {}
    for line in said.decode("utf-8", "replace").splitlines():
        try:
            answer: Any = json.loads(line)
        except ValueError:
            continue
        if isinstance(answer, dict) and "topic" in answer:
            row = cast(dict[str, Any], answer)
            if row.get("reason"):
                reasons[row["topic"]] = row["reason"]
            else:
                facts[row["topic"]] = row.get("facts")
    return Answers(facts, reasons)


def _ending(code: int, errors: bytes) -> str:
    if code == 0:
        return ""
    last = errors.decode("utf-8", "replace").strip().splitlines()[-1:]
    how = f"was killed by signal {-code}" if code < 0 else f"exited with code {code & 0xFFFFFFFF}"
    return f"Python {how} during this check" + "".join(f": {line[:200]}" for line in last)


def _answer(topic: str, check: Callable[[], object]) -> bool:
    """Run a check and print its result or error as JSON; return whether it succeeded."""
    row: dict[str, object] = {"topic": topic}
    try:
        row["facts"] = check()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a broken package may raise anything
        error = error.__cause__ if isinstance(error, EngineUnavailable) and error.__cause__ else error
        row["reason"] = f"{type(error).__name__}: {' '.join(str(error).split())[:400].rstrip('.')}"
    sys.__stdout__.write(json.dumps(row) + "\n")  # pyright: ignore[reportOptionalMemberAccess] - a pipe is there
    sys.__stdout__.flush()  # pyright: ignore[reportOptionalMemberAccess]
    return "reason" not in row


def main() -> None:
    """Run the subprocess: read questions from standard input, print results on standard output."""
    questions = json.loads(sys.stdin.buffer.read())
    sys.stdout = sys.stderr  # keeps other output of packages out of the results

    def torch() -> object:
        from img2vid.engine import probe

        return probe.torch_facts()

    if not _answer("torch", torch):
        return
    from img2vid.engine import probe

    _answer("processor", probe.processor_facts)
    for version, *texts in questions:
        files = [Path(text) for text in texts if text]
        _answer(f"checkpoint {version}", lambda files=files: probe.checkpoint_fault(*files))
    _answer("sgm", probe.sgm_fault)


if __name__ == "__main__":
    main()
