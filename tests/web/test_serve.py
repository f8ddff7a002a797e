"""The command `img2vid serve` as a process: a whole job, and who gets in with and without a token."""

import http.client
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from processes import IN_OWN_GROUP

from img2vid import paths
from img2vid.cli import main
from img2vid.media.videos import read_metadata
from img2vid.remedies import has_text
from img2vid.text_to_image.settings import image_settings_of

SMALL = "num_frames=2&num_steps=2&height=64&width=64&device=cpu"
PHOTO = (paths.PROJECT / "assets" / "dandelion.jpg").read_bytes()


@dataclass
class Server:
    """Running API. `line` is what it printed."""

    line: str

    @property
    def port(self) -> int:
        found = re.search(r":(\d+) ?", self.line.split("http://")[1])
        assert found is not None
        return int(found[1])

    @property
    def token(self) -> str:
        return self.line.partition("token ")[2].split(" ")[0]

    def ask(self, path: str, method: str = "GET", body: bytes = b"", **headers: str) -> tuple[int, str]:
        """Return status and body of a response; `Host` defaults to the address that is asked."""
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        named = {"Host": f"127.0.0.1:{self.port}", "Content-Length": str(len(body))} | headers
        link.putrequest(method, path, skip_host=True)
        for name, value in named.items():
            link.putheader(name, value)
        link.endheaders(body)
        answer = link.getresponse()
        text = answer.read().decode()
        link.close()
        return answer.status, text

    def follow(self, job_id: str) -> tuple[dict[str, Any], list[str]]:
        """Return a job at its end, which must be good, and the events before it."""
        status, text = self.ask(f"/jobs/{job_id}/events")
        *progress, last = text.strip().split("\n\n")
        ended = json.loads(last.partition("data: ")[2])
        assert (status, ended["state"], ended["error"]) == (200, "done", "")
        return ended, progress

    def file(self, path: str) -> bytes:
        """Return the body of a file."""
        link = http.client.HTTPConnection("localhost", self.port, timeout=60)
        link.request("GET", path)
        body = link.getresponse().read()
        link.close()
        return body


def running(home: Path, *arguments: str, **environment: str) -> Iterator[Server]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    own = {name: value for name, value in os.environ.items() if not name.startswith("IMG2VID_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "img2vid", "serve", "--port", str(port), *arguments],
        env=own | environment | {"IMG2VID_HOME": str(home)},
        cwd=paths.PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        **IN_OWN_GROUP,
    )
    assert process.stdout is not None
    try:
        yield Server(process.stdout.readline())
    finally:
        process.terminate()
        assert process.wait(timeout=60) == (1 if os.name == "nt" else 0)  # Windows has no SIGTERM
        process.stdout.close()


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    models = {"IMG2VID_CHECKPOINTS": str(request.getfixturevalue("sdxl"))} if has_text() else {}
    yield from running(tmp_path_factory.mktemp("own"), **models)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from running(tmp_path_factory.mktemp("shared"), "--share", "127.0.0.1")


@pytest.mark.takes_long("starts a cluster and makes a video")
def test_a_picture_becomes_a_video(own: Server) -> None:
    assert re.fullmatch(r"the API of img2vid is at http://localhost:\d+ \(Ctrl-C stops it\)\n", own.line)
    levels = "discretization=ListDiscretization&sigmas=700,20,0.5"
    status, text = own.ask(f"/jobs?name=dandelion&{levels}&{SMALL}", "POST", PHOTO)
    assert status == 201
    job_id = json.loads(text)["id"]
    ended, progress = own.follow(job_id)
    assert any('"stage":"sample"' in event for event in progress)
    assert len(ended["videos"]) == 1
    path = Path(ended["videos"][0]["path"])
    assert own.file(f"/jobs/{job_id}/videos/1") == path.read_bytes()
    settings = read_metadata(path)["settings"]
    assert (settings["discretization"], settings["sigmas"]) == ("ListDiscretization", "700 20 0.5")


@pytest.mark.takes_long("makes a picture with diffusers, and a video")
@pytest.mark.usefixtures("sdxl")
def test_a_prompt_becomes_a_picture_and_a_video(own: Server) -> None:
    query = f"prompt=a%20lighthouse&image_model=tiny_sdxl&image_steps=1&image_seed=5&animate=true&{SMALL}"
    status, text = own.ask(f"/prompts?{query}", "POST")
    assert status == 201
    image, video = (row["id"] for row in json.loads(text))
    (drawn, progress), (made, _) = own.follow(image), own.follow(video)
    assert any('"state":"running"' in event for event in progress)
    picture = own.file(f"/jobs/{image}/pictures/1")
    assert picture == Path(drawn["pictures"][0]).read_bytes()
    assert made["continues"] == image
    clip = own.file(f"/jobs/{video}/videos/1")
    found = image_settings_of(read_metadata(Path(made["videos"][0]["path"])))
    assert (found and found.prompt, clip) == ("a lighthouse", Path(made["videos"][0]["path"]).read_bytes())


def test_other_names_and_websites_are_refused(own: Server) -> None:
    for name in ("Host", "Origin", "X-Forwarded-Host"):
        value = "http://evil.example" if name == "Origin" else "evil.example"
        for method, path in (("GET", "/jobs"), ("POST", "/jobs"), ("GET", "/openapi.json")):
            status, text = own.ask(path, method, b"", **{name: value})
            assert (status, "evil.example" in json.loads(text)["detail"]) == (403, True)
    assert own.ask("/jobs", Origin=f"http://127.0.0.1:{own.port}")[0] == 200


def test_a_shared_api_needs_the_token_in_the_header(shared: Server) -> None:
    assert len(shared.token) >= 43, "256 bits"
    for path in ("/jobs", "/openapi.json", "/none"):
        status, text = shared.ask(path)
        assert (status, "shared with a token" in json.loads(text)["detail"]) == (403, True)
        assert shared.token not in text
    for scheme in ("Bearer", "bearer"):
        assert shared.ask("/jobs", Authorization=f"{scheme} {shared.token}") == (200, "[]")
    wrong = ("", shared.token, f"Bearer {shared.token}x", f"Basic {shared.token}", "Bearer", "Bearer \xe9")
    for value in wrong:
        assert shared.ask("/jobs", Authorization=value)[0] == 403
    assert shared.ask(f"/jobs?token={shared.token}")[0] == 403
    assert shared.ask("/jobs", Cookie=f"img2vid_{shared.port}={shared.token}")[0] == 403
    bearer = f"Bearer {shared.token}"
    assert shared.ask("/jobs", Authorization=bearer, Host="evil.example")[0] == 403
    assert shared.ask("/jobs", Authorization=bearer, Origin="http://evil.example")[0] == 403


def test_an_unusable_address_or_port_is_refused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main.run(["serve", "--port", port]) == 2
        assert f"port {port} is not free" in capsys.readouterr().err
    assert main.run(["serve", "--share", "192.0.2.7"]) == 2
    assert "is not an address of this computer" in capsys.readouterr().err


def test_without_its_package_the_command_says_what_to_install(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("img2vid.web.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "fastapi", None)
    assert main.run(["serve"]) == 1
    assert "serve needs the package fastapi; install it with" in capsys.readouterr().err
