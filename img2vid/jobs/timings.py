"""Recorded times of videos and speeds of devices, and the expected time of a job."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from img2vid.jobs.database import Database
from img2vid.jobs.estimate import Expected, Timing, expected
from img2vid.jobs.workload import SPEEDS, Speed, expected_from, fastest, speeds_from
from img2vid.options import LoadOptions
from img2vid.settings import SampleSettings


class Timings(Database):
    """Part of the store that estimates times."""

    def expected_seconds(self, settings: SampleSettings, options: LoadOptions) -> float | None:
        """Return the expected seconds of a job with a loaded model, or None if unknown; see `expected`."""
        one = self.expected(settings, options)
        return None if one is None else one.whole * settings.num_samples

    def expected(self, settings: SampleSettings, options: LoadOptions) -> Expected | None:
        """Return the expected cost of one video from earlier ones, else from the speed of the workers' devices."""
        timing = self.timing(settings, options)
        if timing is not None:
            return expected(timing, settings)
        return expected_from(settings, options, speeds_from(self.note(SPEEDS)))

    def timing(self, settings: SampleSettings, options: LoadOptions) -> Timing | None:
        """Return the usual timing of this version from the newest videos. `auto` matches any value."""
        engine = {"provider": options.provider, "device": options.device, "precision": options.precision}
        given = {name: value for name, value in engine.items() if value != "auto"}
        which = " ".join(["WHERE version = ?", *(f"AND {name} = ?" for name in given)])
        query = f"SELECT number, timing FROM timings {which} ORDER BY number DESC LIMIT 5"
        with self.reading() as db:
            found = db.execute(query, (settings.version, *given.values())).fetchall()
        return Timing.usual(self.read_all("timing", found, Timing.from_text))

    def record_timing(self, version: str, metadata: dict[str, Any], timing: Timing) -> None:
        """Record the timing of a video. The newest hundred are kept."""
        engine = [str(metadata[name]) for name in ("provider", "device", "precision")]
        values = (None, version, *engine, json.dumps(asdict(timing)))
        with self.writing() as db:
            added = db.execute("INSERT INTO timings VALUES (?, ?, ?, ?, ?, ?)", values)
            db.execute("DELETE FROM timings WHERE number <= ?", ((added.lastrowid or 0) - 100,))

    def record_speeds(self, speeds: Mapping[str, Speed]) -> None:
        """Record the speed of a worker's device, unless a faster one was measured."""
        known = speeds_from(self.note(SPEEDS))
        if (best := fastest(known, speeds)) != known:
            self.write_note(SPEEDS, best)

    def note(self, name: str) -> Any:
        """Return the latest value the active service published under a name, or None."""
        with self.reading() as db:
            found = db.execute("SELECT name, value FROM notes WHERE name = ?", (name,)).fetchall()
        return next(iter(self.read_all("note", found, json.loads)), None)

    def write_note(self, name: str, value: Any) -> None:
        """Publish a JSON value to other processes."""
        with self.writing() as db:
            db.execute("REPLACE INTO notes VALUES (?, ?)", (name, json.dumps(value)))
