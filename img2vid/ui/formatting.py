"""User-facing text for sizes, times, stages and errors."""

from img2vid.jobs.job import Job, JobProgress
from img2vid.settings import SampleSettings

STAGES = {
    "load": "Loading the model",
    "condition": "Encoding the image",
    "sample": "Sampling",
    "decode": "Decoding",
    "write": "Writing the video",
}
COUNTED = {"sample": "step", "decode": "frame"}
"""Units of the stages whose steps are shown."""


def sentence(text: object) -> str:
    """Return an error or notice as a sentence, with a capital letter and a full stop."""
    words = str(text).strip()
    if not words:
        return ""
    return words[0].upper() + words[1:] + ("" if words[-1] in ".!?" else ".")


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


def device(name: str) -> str:
    """Return the display name of a torch device: "CPU", "GPU", "GPU 1"."""
    kind, _, number = name.partition(":")
    known = {"cpu": "CPU", "cuda": "GPU", "mps": "Apple GPU"}
    plain = known.get(kind, name)
    return f"{plain} {number}" if number not in ("", "0") and kind in known else plain


def seeds(settings: SampleSettings) -> str:
    """Return the seed of a job, or its first and last seed if it makes several videos."""
    last = settings.seed + settings.num_samples - 1
    return f"seed {settings.seed}" if last == settings.seed else f"seeds {settings.seed} to {last}"


def title(job: Job) -> str:
    """Return a job's title for lists."""
    return f"{plain(job.picture_name)}, {job.settings.version}, {seeds(job.settings)}"


def plain(text: str) -> str:
    """Escape external text, such as a file name, for Markdown."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()<>#+-.!|~$:&" else letter for letter in text)


def progress(event: JobProgress) -> str:
    """Return the stage, step n of N and the time left, in one line."""
    words = [STAGES.get(event.stage, event.stage)]
    if event.stage in COUNTED and event.total:
        words[0] += f", {COUNTED[event.stage]} {event.step} of {event.total}"
    if event.videos > 1:
        words.append(f"video {event.video} of {event.videos}")
    if event.seconds_left is not None and event.seconds_left >= 0.5:
        words.append(f"about {span(event.seconds_left)} left")
    return " · ".join(words)


def length(settings: SampleSettings) -> str:
    """Return the playing time of the clips, T / fps each."""
    each = f"{settings.num_frames / settings.file_fps:.1f} s"
    return f"{each} clip" if settings.num_samples == 1 else f"{settings.num_samples} clips of {each}"
