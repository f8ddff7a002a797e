"""How the page says things: sizes, times, stages, errors."""

from img2vid.jobs.job import Job, JobProgress
from img2vid.settings import SampleSettings

STAGES = {
    "load": "Loading the model",
    "condition": "Looking at the picture",
    "sample": "Sampling",
    "decode": "Decoding",
    "write": "Writing the video",
}
COUNTED = {"sample": "step", "decode": "frame"}
"""What the steps of a stage are, where counting them says something."""


def sentence(text: object) -> str:
    """An error's or a notice's text as a sentence: a capital at its start, a full stop at its end."""
    words = str(text).strip()
    if not words:
        return ""
    return words[0].upper() + words[1:] + ("" if words[-1] in ".!?" else ".")


def size(count: int) -> str:
    """Bytes in a unit that suits: "15 MB", "0.4 GB"."""
    return f"{count / 1e9:.1f} GB" if count >= 5e7 else f"{max(round(count / 1e6), 1)} MB"


def span(seconds: float) -> str:
    """A time as people say it: "8 s", "2 min", "1 h 20 min"."""
    if seconds < 90:
        return f"{max(round(seconds), 1)} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def device(name: str) -> str:
    """A device of torch in plain words: "CPU", "GPU", "GPU 1"."""
    kind, _, number = name.partition(":")
    known = {"cpu": "CPU", "cuda": "GPU", "mps": "Apple GPU"}
    plain = known.get(kind, name)
    return f"{plain} {number}" if number not in ("", "0") and kind in known else plain


def seeds(settings: SampleSettings) -> str:
    """The seed of a job, or the first and last of several."""
    last = settings.seed + settings.num_samples - 1
    return f"seed {settings.seed}" if last == settings.seed else f"seeds {settings.seed} to {last}"


def title(job: Job) -> str:
    """What a job is called in lists."""
    return f"{plain(job.picture_name)}, {job.settings.version}, {seeds(job.settings)}"


def plain(text: str) -> str:
    """A text from outside, such as a file's name, so that Markdown shows it as it is."""
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]()<>#+-.!|~$:&" else letter for letter in text)


def progress(event: JobProgress) -> str:
    """Stage, step n of N and the time left, in a line."""
    words = [STAGES.get(event.stage, event.stage)]
    if event.stage in COUNTED and event.total:
        words[0] += f", {COUNTED[event.stage]} {event.step} of {event.total}"
    if event.videos > 1:
        words.append(f"video {event.video} of {event.videos}")
    if event.seconds_left is not None and event.seconds_left >= 0.5:
        words.append(f"about {span(event.seconds_left)} left")
    return " · ".join(words)


def length(settings: SampleSettings) -> str:
    """How long the video will play: T / fps."""
    each = f"{settings.num_frames / settings.file_fps:.1f} s of video"
    return each if settings.num_samples == 1 else f"{settings.num_samples} x {each}"
