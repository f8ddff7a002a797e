"""User-facing text for sizes, times, stages and errors."""

import re

from img2vid.errors import BadInput
from img2vid.jobs.job import Job, Kind, seed_before
from img2vid.progress import Event
from img2vid.settings import SampleSettings, label_of, used_settings, value_text
from img2vid.ui import resources
from img2vid.versions import load_versions

STAGES = {
    "load": "Loading the model",
    "prompt": "Encoding the prompt",
    "condition": "Encoding the image",
    "sample": "Sampling",
    "decode": "Decoding",
}
TITLE = ("version", "seed", "num_samples")
"""Settings that a title names."""
MOST_NAMED = 4
"""Maximum number of settings that are named after a title."""
COUNTED = {"sample": "step", "decode": "frame"}
"""Units of the stages whose steps are shown."""


def sentence(text: object) -> str:
    """Return an error or notice as a sentence, with a capital letter and a full stop."""
    words = with_times(str(text).strip())
    if not words:
        return ""
    return words[0].upper() + words[1:] + ("" if words[-1] in ".!?" else ".")


def with_times(text: str) -> str:
    """Return a text of the command line with times signs in its sizes, such as 160 x 96, except in quoted names."""
    return re.sub(r"('[^']*')|(?<=\d) x (?=\d)", lambda found: found[1] or " \u00d7 ", text)


def pixels(width: int, height: int) -> str:
    """Return a size in pixels as text, with a times sign."""
    return f"{width} \u00d7 {height}"


def size(count: int) -> str:
    """Return a byte count in MB or GB: "15 MB", "0.4 GB"."""
    return f"{count / 1e9:.1f} GB" if count >= 5e7 else f"{max(round(count / 1e6), 1)} MB"


def span(seconds: float) -> str:
    """Return a duration in seconds as text: "8 s", "2 min", "1 h 20 min"."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def estimate(seconds: float | None, what: str = "") -> str:
    """Return an estimated time as text: "about 2 min to make". It is unknown (None) before the first run."""
    return "estimate available after the first run" if seconds is None else f"about {span(seconds)} {what}".strip()


def device(name: str) -> str:
    """Return the display name of a torch device: "CPU", "GPU", "GPU 1"."""
    kind, _, number = name.partition(":")
    known = {"cpu": "CPU", "cuda": "GPU", "mps": "Apple GPU"}
    plain = known.get(kind, name)
    return f"{plain} {number}" if number not in ("", "0") and kind in known else plain


def seeds(job: Job) -> str:
    """Return the seed of a job, or its first and last seed if it makes several videos or pictures."""
    return seed_range(job.seed, job.count)


def seed_range(first: int, count: int) -> str:
    """Return the first and last of a number of seeds as text: "seed 5", "seeds 5 to 7"."""
    return f"seed {first}" if count == 1 else f"seeds {first} to {first + count - 1}"


def title(job: Job) -> str:
    """Return a job's title for lists."""
    return f"{plain(job.picture_name)}, {plain(job.model) if job.image else job.model}, {seeds(job)}"


def unusual(settings: SampleSettings) -> list[str]:
    """Return the settings that are not the version's defaults, except the seed, as Markdown such as "steps 2"."""
    version = load_versions().get(settings.version)
    usual = (SampleSettings() if version is None else version.settings({})).model_dump()
    values = settings.model_dump()
    names = [name for name in used_settings(values) if name not in TITLE and values[name] != usual[name]]
    texts = [f"{label_of(name)} {'as fps' if values[name] is None else value_text(values[name])}" for name in names]
    more = len(texts) - MOST_NAMED
    return [plain(text) for text in texts[:MOST_NAMED]] + ([f"{more} more"] if more > 0 else [])


def about(job: Job, *, bold: bool = False) -> str:
    """Return a job's title, and what else distinguishes it: settings that are not defaults, and what it continues."""
    link: list[str] = []
    if job.continues:
        link = ["of its picture"] if _animates(job) else [f"continues seed {seed_before(job.settings.seed)}"]
    first = f"**{title(job)}**" if bold else title(job)
    return " · ".join([first, *([] if job.image else unusual(job.settings)), *link])


def _animates(job: Job) -> bool:
    """Return True if a job continues one for pictures instead of a video."""
    try:
        return resources.open_service().store.job(job.continues).kind == "image"
    except BadInput:  # an unreadable row
        return False


def stars(rating: int) -> str:
    """Return a rating with its number: "★★★★ 4"; "" for 0."""
    return f"{'★' * rating} {rating}" if rating else ""


def plain(text: str) -> str:
    """Escape external text, such as a file name, for Markdown."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()<>#+-.!|~$:&" else letter for letter in text)


def with_code(text: str) -> str:
    """Escape a text for Markdown, except that commands in backticks become code."""
    parts = re.split(r"(`[^`\n]+`)", text)
    return "".join(part if index % 2 else plain(part) for index, part in enumerate(parts))


def message(text: object) -> str:
    """Return an error or notice as a sentence in Markdown."""
    return with_code(sentence(text))


def progress(event: Event, kind: Kind = "video") -> str:
    """Return the stage, step n of N and the time left of a job of this kind, in one line."""
    noun = "video" if kind == "video" else "picture"
    words = [f"Writing the {noun}" if event.stage == "write" else STAGES.get(event.stage, event.stage)]
    if event.stage in COUNTED and event.total and (noun == "video" or event.stage == "sample"):
        words[0] += f", {COUNTED[event.stage]} {event.step} of {event.total}"
    if event.videos > 1:
        words.append(f"{noun} {event.video} of {event.videos}")
    if event.seconds_left is not None and event.seconds_left >= 0.5:
        words.append(f"about {span(event.seconds_left)} left")
    return " · ".join(words)


def dimensions(settings: SampleSettings) -> str:
    """Return the number of frames, the size and the file's frame rate of a clip."""
    size = pixels(settings.width, settings.height)
    return f"{settings.num_frames} frames of {size} at {settings.file_fps:g} fps"


def length(settings: SampleSettings) -> str:
    """Return the playing time of the clips, T / fps each."""
    each = f"{settings.num_frames / settings.file_fps:.1f} s"
    return f"{each} clip" if settings.num_samples == 1 else f"{settings.num_samples} clips of {each}"
