"""Asks a process of its own about torch, the checkpoints and sgm: none of these, however broken, can end the doctor.

The process, `python -m img2vid.doctor.probe_process`, prints one line of JSON for each topic as soon as it knows it.
What came before a crash is kept, and for the rest the reason is how the process ended.
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

PATIENCE = 240.0
"""Seconds for all answers; the first import of torch after an installation can take minutes on a slow disk."""


@dataclass(frozen=True)
class Question:
    """A checkpoint that is there, and the configuration that it has to fit."""

    version: str
    config: Path
    checkpoint: Path


@dataclass(frozen=True)
class Answers:
    """Facts by topic ("torch", "processor", "sgm", "checkpoint NAME"), and the reason for each topic that has none."""

    facts: Mapping[str, Any] = field(default_factory=dict[str, Any])
    reasons: Mapping[str, str] = field(default_factory=dict[str, str])
    ended: str = ""
    """How the process ended, where it did not end well."""

    def reason(self, topic: str) -> str:
        """Why there are no facts about a topic."""
        if topic != "torch" and "torch" not in self.facts:
            return "torch does not run, see above"
        return self.reasons.get(topic) or self.ended or "it was not answered"


def run_probe(questions: Sequence[Question]) -> Answers:
    """Starts the process and collects what it says."""
    order = json.dumps([[one.version, str(one.config), str(one.checkpoint)] for one in questions])
    inherited = [os.environ["PYTHONPATH"]] if os.environ.get("PYTHONPATH") else []
    # It speaks UTF-8 whatever the console does, since Windows pipes know few letters.
    surroundings = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(paths.PROJECT), *inherited]),
        "PYTHONIOENCODING": "utf-8",
    }
    command = [sys.executable, "-m", "img2vid.doctor.probe_process"]
    try:
        done = subprocess.run(
            command, input=order.encode(), capture_output=True, env=surroundings, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired as error:
        said = read_answers(error.stdout or b"")
        return Answers(said.facts, said.reasons, f"Python did not answer within {PATIENCE:.0f} seconds")
    except OSError as error:
        return Answers(ended=f"Python could not be started ({error.strerror or error})")
    said = read_answers(done.stdout)
    return Answers(said.facts, said.reasons, _ending(done.returncode, done.stderr))


def read_answers(said: bytes) -> Answers:
    """What the process said, without greetings of packages and without a line that a crash cut off."""
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
    how = f"was ended by signal {-code}" if code < 0 else f"ended with code {code & 0xFFFFFFFF}"
    return f"Python {how} while it worked on this" + "".join(f": {line[:200]}" for line in last)


def _answer(topic: str, look: Callable[[], object]) -> bool:
    """Tells one topic; whether it could be looked at."""
    row: dict[str, object] = {"topic": topic}
    try:
        row["facts"] = look()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - broken packages fail in any way they like, and are told
        row["reason"] = f"{type(error).__name__}: {' '.join(str(error).split())[:400].rstrip('.')}"
    sys.__stdout__.write(json.dumps(row) + "\n")  # pyright: ignore[reportOptionalMemberAccess] - a pipe is there
    sys.__stdout__.flush()  # pyright: ignore[reportOptionalMemberAccess]
    return "reason" not in row


def main() -> None:
    """The process: reads its questions from standard input, answers on standard output."""
    questions = json.loads(sys.stdin.buffer.read())
    sys.stdout = sys.stderr  # greetings of packages are no answers

    def torch() -> object:
        from img2vid.engine import probe

        return probe.torch_facts()

    if not _answer("torch", torch):
        return
    from img2vid.engine import probe

    _answer("processor", probe.processor_facts)
    for version, config, checkpoint in questions:
        place, file = Path(config), Path(checkpoint)
        _answer(f"checkpoint {version}", lambda place=place, file=file: probe.checkpoint_fault(place, file))
    _answer("sgm", probe.sgm_fault)


if __name__ == "__main__":
    main()
