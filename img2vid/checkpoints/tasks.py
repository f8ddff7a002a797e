"""Background downloads and verifications, at most one per version."""

from img2vid.background import BackgroundTasks, TaskResult
from img2vid.checkpoints.download import Timeouts, download, download_folder
from img2vid.checkpoints.progress import OnProgress, Progress
from img2vid.checkpoints.sources import Source, find_source
from img2vid.checkpoints.verify import verify
from img2vid.versions import CheckpointRow


class CheckpointTasks(BackgroundTasks[Progress]):
    """Background tasks named after versions. An interrupted download resumes when it is started again."""

    def __init__(self, patience: Timeouts | None = None) -> None:
        super().__init__()
        self._patience = patience

    def download(
        self, version: CheckpointRow, mirror: str | None = None, token: str | None = None, *, folder: bool = False
    ) -> None:
        """Start to download a version's checkpoint, or its diffusers folder. Raise BadInput if it has no source."""
        source = find_source(version, mirror=mirror, token=token)

        def find(file: str) -> Source:
            return find_source(version, mirror=mirror, token=token, file=file)

        def work(on_progress: OnProgress) -> TaskResult:
            if folder:
                path = download_folder(version, find, on_progress, self._patience)
            else:
                path = download(version, source, on_progress, self._patience)
            return TaskResult(f"downloaded and verified; {path.name} is ready to use")

        self.start(version.name, work)

    def verify(self, version: CheckpointRow) -> None:
        """Start to verify a version's checkpoint."""
        self.start(version.name, lambda on_progress: TaskResult(verify(version, on_progress).sentence()))
