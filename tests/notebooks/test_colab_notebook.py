"""The Google Colab notebook, executed cell by cell as far as possible without Colab.

Colab's own modules (`google.colab`, IPython) and commands that download are faked: git clone copies the project, pip
and model downloads do nothing. Everything else runs: the doctor, the dashboard, which must answer the requests of
Colab's proxy, and a video by the small model.
"""

import base64
import http.client
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import types
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from img2vid import paths
from img2vid.doctor import machine
from img2vid.media.videos import read_frames

NOTEBOOK = paths.PROJECT / "notebooks" / "img2vid_colab.ipynb"
SMALL = "--height 64 --width 64 --num-frames 3 --num-steps 2 --device cpu"
REPOSITORY = "https://example.org/img2vid.git"
STARTING = ("STREAMLIT_SERVER_HEADLESS",)
"""Variables that any start may set; the others are for Colab's proxy."""
COPIED = ("img2vid", "assets", "configs", "requirements", ".streamlit")


def cells(kind: str = "code") -> list[str]:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == kind]


def to_python(source: str) -> str:
    """Convert the notebook's IPython syntax, `!command` and `%cd folder`, to calls with {names} filled in."""

    def call(match: re.Match[str]) -> str:
        indent, magic, rest = match.groups()
        return f"{indent}{'_exit_code = shell' if magic == '!' else 'change_to'}(f{rest!r})"

    return re.sub(r"^( *)(!|%cd )(.*)$", call, source, flags=re.MULTILINE)


class Colab:
    """The notebook's namespace, its shell, and recorded calls of the fakes."""

    def __init__(self, content: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.content = content
        self.commands: list[str] = []
        self.failing: str | None = None
        self.mounted: list[str] = []
        self.shown: list[str] = []
        self.secrets: dict[str, str] = {}
        self.memory: dict[str, Any] = {"shell": self._shell, "change_to": lambda folder: monkeypatch.chdir(folder)}

    def run(self, number: int, **fields: object) -> None:
        """Run a cell, counted from 1, with some of its form fields set."""
        source = cells()[number - 1].replace("/content", self.content.as_posix())
        for name, value in fields.items():
            source, changed = re.subn(
                rf"^{name} = .*?(?=  # @param)", f"{name} = {value!r}", source, flags=re.MULTILINE
            )
            assert changed == 1, f"the cell has no field {name}"
        exec(compile(to_python(source), f"cell {number}", "exec"), self.memory)

    def _shell(self, command: str) -> int:
        self.commands.append(command)
        if self.failing is not None and self.failing in command:
            return 1
        if command.startswith("git clone "):
            self._clone(Path(command.split('"')[3]))
            return 0
        if " -m pip " in command or " models download " in command:
            return 0
        return subprocess.run(command, shell=True, check=False).returncode

    def _clone(self, target: Path) -> None:
        for name in COPIED:
            shutil.copytree(paths.PROJECT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        (target / "checkpoints").mkdir()
        shutil.copy(paths.PROJECT / "checkpoints" / "svd_tiny.safetensors", target / "checkpoints")
        shutil.copy(paths.PROJECT / "streamlit_app.py", target)

    def modules(self) -> dict[str, types.ModuleType]:
        """Return `google.colab` and `IPython.display` as far as the notebook uses them."""

        class SecretNotFoundError(Exception):
            pass

        class NotebookAccessError(Exception):
            pass

        def get(name: str) -> str:
            if name not in self.secrets:
                raise SecretNotFoundError(name)
            return self.secrets[name]

        def eval_js(script: str) -> str:
            port = script.removeprefix("google.colab.kernel.proxyPort(").removesuffix(")")
            return f"https://z4spb7cvssd-496ff2e9c6d22116-{int(port)}-colab.googleusercontent.com/"

        def mount(place: str) -> None:
            self.mounted.append(place)
            (Path(place) / "MyDrive").mkdir(parents=True, exist_ok=True)

        contents: dict[str, dict[str, Any]] = {
            "google.colab.drive": {"mount": mount},
            "google.colab.output": {"eval_js": eval_js},
            "google.colab.userdata": {
                "get": get,
                "SecretNotFoundError": SecretNotFoundError,
                "NotebookAccessError": NotebookAccessError,
            },
            "IPython.display": {"Video": lambda path, **options: path, "display": self.shown.append},
            "google.colab": {},
            "google": {},
            "IPython": {},
        }
        made = {name: types.ModuleType(name) for name in contents}
        for name, module in made.items():
            vars(module).update(contents[name])
            outer, _, inner = name.rpartition(".")
            if outer:
                setattr(made[outer], inner, module)
        return made


@pytest.fixture
def colab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Colab]:
    """Return Colab with an empty /content."""
    content = tmp_path / "content"
    content.mkdir()
    machine_of_google = Colab(content, monkeypatch)
    for name, module in machine_of_google.modules().items():
        monkeypatch.setitem(sys.modules, name, module)
    for name in [name for name in os.environ if name.startswith(("IMG2VID_", "STREAMLIT_", "HF_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HF_TOKEN", "")  # so that the cell's change is undone after the test
    monkeypatch.delenv("PYTHONPATH", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.chdir(tmp_path)
    yield machine_of_google
    dashboard = machine_of_google.memory.get("dashboard")
    if dashboard is not None:
        dashboard.terminate()
        dashboard.wait(timeout=20)


@pytest.fixture
def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


# The file


def test_the_notebook_is_one_that_colab_opens() -> None:
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["metadata"]["accelerator"]) == (4, "GPU")
    for cell in notebook["cells"]:
        assert cell["cell_type"] in ("code", "markdown")
        assert all(line.endswith("\n") for line in cell["source"][:-1])
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None), "a notebook is kept without results"


@pytest.mark.parametrize("number", range(1, len(cells()) + 1))
def test_every_cell_is_python(number: int) -> None:
    source = cells()[number - 1]
    assert source.startswith(f"# @title {number}. ")
    compile(to_python(source), f"cell {number}", "exec")


def test_magics_become_calls() -> None:
    source = 'a = 1\n    !git clone "{a}" it\'s\n%cd {a}\nb = not a  # !no\nc = a % 2'
    assert to_python(source) == (
        "a = 1\n    _exit_code = shell(f'git clone \"{a}\" it\\'s')\nchange_to(f'{a}')\nb = not a  # !no\nc = a % 2"
    )


def test_the_page_in_docs_lists_the_cells_and_the_options_of_the_dashboard() -> None:
    page = (paths.PROJECT / "docs" / "colab.md").read_text(encoding="utf-8")
    titles = [source.partition("\n")[0].removeprefix("# @title ") for source in cells()]
    assert re.findall(r"^\* \*\*(\d\. [\w ]+)\*\*", page, re.MULTILINE) == titles
    set_there = {name for name in re.findall(r'"(STREAMLIT_\w+)":', cells()[4]) if name not in STARTING}
    assert {*re.findall(r"`(STREAMLIT_\w+)`", page)} == set_there


# The cells


def test_without_an_address_the_first_cell_says_what_to_write(colab: Colab) -> None:
    with pytest.raises(SystemExit, match=r"REPOSITORY is empty: enter the address .* and run this cell again\."):
        colab.run(1)
    assert colab.commands == []


def test_an_address_that_cannot_be_cloned_is_reported(colab: Colab) -> None:
    colab.failing = "git clone"
    with pytest.raises(SystemExit, match=r"^https://example\.org/img2vid\.git could not be cloned"):
        colab.run(1, REPOSITORY=REPOSITORY)


def test_packages_that_cannot_be_installed_are_reported(colab: Colab) -> None:
    colab.failing = "pip install"
    with pytest.raises(SystemExit, match="The packages could not be installed"):
        colab.run(1, REPOSITORY=REPOSITORY)


def test_the_torch_of_colab_is_kept(colab: Colab) -> None:
    colab.run(1, REPOSITORY=f" {REPOSITORY} ")
    colab.run(1)
    clone, install, again = colab.commands
    project = (colab.content / "img2vid").as_posix()
    assert clone == f'git clone --depth 1 "{REPOSITORY}" "{Path(project)}"'
    assert again == install, "what is cloned is not cloned again, and then needs no address"
    assert " -m pip install " in install
    assert install.endswith(" -r requirements/runtime.txt")
    constraints = (colab.content / "kept.txt").read_text(encoding="utf-8").splitlines()
    assert f'-c "{colab.content / "kept.txt"}"' in install
    assert constraints == [f"{name}=={version(name)}" for name in ("torch", "torchvision")]
    assert Path.cwd() == Path(project)


def started(colab: Colab) -> Colab:
    """Return Colab after the first cell."""
    colab.run(1, REPOSITORY=REPOSITORY)
    colab.commands.clear()
    return colab


def test_drive_is_mounted_only_where_it_is_wanted(colab: Colab, capsys: pytest.CaptureFixture[str]) -> None:
    started(colab)
    colab.run(3)
    assert colab.mounted == []
    assert colab.memory["VIDEOS"] == colab.content / "img2vid" / "outputs"
    colab.run(3, SAVE_TO_DRIVE=True)
    assert colab.mounted == [f"{colab.content.as_posix()}/drive"]
    assert colab.memory["VIDEOS"] == colab.content / "drive" / "MyDrive" / "img2vid"
    assert f"set Save path to {colab.memory['VIDEOS']}." in capsys.readouterr().out


def test_a_full_model_is_downloaded_and_a_small_one_is_not(colab: Colab) -> None:
    started(colab)
    colab.run(4)
    assert colab.commands == []
    colab.run(4, VERSION="svd_xt")
    assert colab.commands == [f'"{sys.executable}" -m img2vid models download svd_xt']
    assert os.environ["HF_TOKEN"] == ""
    colab.secrets["HF_TOKEN"] = "hf_secret"
    colab.run(4, VERSION="svd_xt")
    assert os.environ["HF_TOKEN"] == "hf_secret"
    assert not any("hf_secret" in command for command in colab.commands)
    colab.failing = "models download"
    with pytest.raises(SystemExit, match="svd_xt was not downloaded"):
        colab.run(4, VERSION="svd_xt")


def test_the_versions_that_can_be_chosen_exist() -> None:
    from img2vid.versions import load_versions

    listed = re.search(r'VERSION = "(\w+)"  # @param (\[.*\])', cells()[3])
    assert listed is not None
    assert listed[1] in json.loads(listed[2])
    assert set(json.loads(listed[2])) <= set(load_versions())


def test_the_doctor_is_run(colab: Colab, capfd: pytest.CaptureFixture[str]) -> None:
    started(colab)
    colab.run(2)
    assert colab.memory["_exit_code"] == 0
    assert f"{colab.content / 'img2vid' / 'checkpoints' / 'svd_tiny.safetensors'}" in capfd.readouterr().out


def handshake(port: int, host: str, origin: str) -> str:
    """Return the status line of the response to a WebSocket handshake from a browser."""
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        "GET /_stcore/stream HTTP/1.1",
        f"Host: {host}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Protocol: streamlit",
        f"Origin: {origin}",
    )
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode())
        return connection.recv(4096).split(b"\r\n")[0].decode()


def upload(port: int, host: str) -> int:
    """Return the response status of an upload without the page's cookie."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\nabc\r\n--x--\r\n'
    headers = {"Content-Type": "multipart/form-data; boundary=x", "Host": host, "Origin": f"https://{host}"}
    connection.request("PUT", "/_stcore/upload_file/no-such-session/file", body, headers)
    status = connection.getresponse().status
    connection.close()
    return status


def test_the_dashboard_answers_only_colabs_proxy(
    colab: Colab, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    started(colab)
    colab.run(5, PORT=free_port)
    address = f"https://z4spb7cvssd-496ff2e9c6d22116-{free_port}-colab.googleusercontent.com"
    assert capsys.readouterr().out.endswith(f"The dashboard: {address}\n")
    host = address.removeprefix("https://")
    assert "101" in handshake(free_port, host, address)
    assert "101" in handshake(free_port, f"localhost:{free_port}", address), "a proxy may put its own name in"
    assert "403" in handshake(free_port, "example.org", "https://example.org")
    assert "403" in handshake(free_port, host, "https://example.org")
    assert "403" in handshake(free_port, f"localhost:{free_port}", "https://other-colab.googleusercontent.com")
    assert upload(free_port, host) == 400, "the session is refused, as there is none, and not the missing cookie (403)"
    first = colab.memory["dashboard"]
    colab.run(5, PORT=free_port)
    assert colab.memory["dashboard"] is first, "run again, the cell keeps the dashboard that is there"
    assert machine.check_port(str(free_port), True).found == f"A dashboard is running at http://localhost:{free_port}."


def test_a_dashboard_that_does_not_start_is_reported_with_its_output(colab: Colab, free_port: int) -> None:
    started(colab)
    (colab.content / "img2vid" / "streamlit_app.py").unlink()
    with pytest.raises(
        SystemExit, match=r"The dashboard did not start; .*dashboard\.log says why: (?s:.*)streamlit_app"
    ):
        colab.run(5, PORT=free_port)


def test_the_last_cell_makes_a_video_and_shows_it(colab: Colab) -> None:
    started(colab)
    colab.run(3)
    colab.run(4)
    colab.run(6, OPTIONS=SMALL)
    (video,) = colab.shown
    assert Path(video).parent == colab.content / "img2vid" / "outputs"
    assert read_frames(Path(video)).shape == (3, 64, 64, 3)


def test_a_picture_that_cannot_be_used_ends_the_last_cell_with_a_sentence(colab: Colab) -> None:
    started(colab)
    colab.run(3)
    colab.run(4)
    with pytest.raises(SystemExit, match="No video was made; see the error above"):
        colab.run(6, PICTURE="assets/nothing.jpg")
    assert colab.shown == []
