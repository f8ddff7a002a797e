"""A full disk at each kind of write of the page."""

import io
import shutil
import time
import zipfile
from contextlib import nullcontext
from pathlib import Path

import numpy as np
from PIL import Image

from faults.disk import full
from faults.server import PICTURE, Server
from faults.session import Session


class Writes:
    """Actions of a tab that write to disk."""

    def __init__(self, session: Session, theirs: Path) -> None:
        self._session, self._theirs = session, theirs
        self._noise = np.random.default_rng(0)
        self.said: list[str] = []
        """Messages of the page about the last task."""

    def upload(self) -> None:
        """Upload a new picture of 270 kB."""
        self._session.go("Sample")
        buffer = io.BytesIO()
        Image.fromarray(self._noise.integers(0, 255, (300, 300, 3), dtype=np.uint8)).save(buffer, "PNG")
        key = self._session.wait(lambda: self._session.keys("input_"), "the uploader")[0]
        self._session.upload(key, "noise.png", buffer.getvalue())

    def tab(self) -> None:
        """Change a setting, which is saved in the tab's file."""
        self._session.press("dice")

    def sample(self) -> None:
        """Queue a job."""
        self._session.go("Sample")
        self._session.press("sample")

    def downloads(self) -> None:
        """Download everything that is offered for a video; animations are made in temporary files."""
        self._session.go("Sample")
        keys = self._session.wait(lambda: self._session.keys("downloads_", "deferred_file_id"), "the downloads")
        for key in keys:
            try:
                assert len(self._session.download(key)) > 100, key
            except OSError as error:
                print(f"    {error}")
        print(f"    {len(keys)} downloads")

    def export(self) -> None:
        """Export a video as zip and download it."""
        self._choose()
        self._session.press("export_chosen")
        self._end_of("export")
        if self._session.has("download_export"):
            archive = zipfile.ZipFile(io.BytesIO(self._session.download("download_export")))
            assert archive.testzip() is None and len(archive.namelist()) == 4
        self._session.press("forget_export")

    def imports(self) -> None:
        """Import a folder."""
        self._session.go("Gallery")
        self._session.enter("import_folder", str(self._theirs))
        self._session.press("import")
        self._end_of("import")
        self._session.press("forget_import")

    def tag(self) -> None:
        """Tag a video."""
        self._choose()
        self._session.enter("new_tag", f"tag {time.monotonic()}")
        self._session.press("add_tag")

    def trash(self) -> None:
        """Move a video to the trash."""
        self._choose()
        self._session.press("delete_chosen")

    def undo(self) -> None:
        """Restore that video."""
        self._session.press("undo_delete")

    def comparison(self) -> None:
        """Start a comparison, which adds a study and jobs."""
        self._session.go("Compare")
        self._session.press("compare_start")

    def diagnostics(self) -> None:
        """Download the diagnostics."""
        self._session.go("System")
        self._session.wait(lambda: self._session.has("download_diagnostics"), "the diagnostics")
        assert b"img2vid" in self._session.download("download_diagnostics")

    def _choose(self) -> None:
        self._session.go("Gallery")
        boxes = self._session.wait(lambda: [k for k in self._session.keys("choose_") if k != "choose_page"], "a video")
        self._session.enter(boxes[-1], True)

    def _end_of(self, task: str) -> None:
        self._session.wait(lambda: self._session.has(f"forget_{task}"), f"the end of the {task}")
        self.said = self._session.errors()


KINDS = (
    "upload",
    "tab",
    "sample",
    "downloads",
    "export",
    "imports",
    "tag",
    "trash",
    "undo",
    "comparison",
    "diagnostics",
)


def writes(server: Server) -> None:
    """Fill the disk, also that of temporary files, for each kind of write; repeat it with space."""
    temporary = server.home / "tmp"
    temporary.mkdir()
    server.start(TMPDIR=str(temporary))
    with server.open() as session:
        server.makes_the_next()
        server.makes_the_next()
        session.press(f"example_{PICTURE.stem}")
        session.make_small()
        theirs = server.home.parent / "theirs"
        theirs.mkdir()
        for path in server.done[0].results[0].video.parent.glob("*seed1.*"):
            shutil.copy(path, theirs)
        page = Writes(session, theirs)
        for name in KINDS:
            for disk, space in (("full", full(server)), ("free", nullcontext())):
                page.said = []
                with space:
                    getattr(page, name)()
                    print(f"{name}, {disk} disk: {page.said or session.errors() or 'done'}", flush=True)
            if name != "trash":
                server.makes_the_next()
    print(f"{server.tracebacks()} tracebacks")
