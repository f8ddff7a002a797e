"""The wheel: built, installed into an environment without a checkout, and used from another folder."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
import venv
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an environment with the wheel; its dependencies are those of the running environment."""
    folder = tmp_path_factory.mktemp("wheel")
    shutil.copytree(
        PROJECT,
        folder / "source",
        ignore=shutil.ignore_patterns(
            ".git", ".venv", "outputs", "tests", "build", "*.egg-info", "__pycache__", ".*_cache"
        ),
    )
    options = ["--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet"]
    pip = [sys.executable, "-m", "pip"]
    subprocess.run([*pip, "wheel", *options, "-w", str(folder), str(folder / "source")], check=True)
    shutil.rmtree(folder / "source")
    environment = folder / "environment"
    venv.create(environment, with_pip=False, symlinks=os.name != "nt")
    python = environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    wheel = next(folder.glob("*.whl"))
    subprocess.run([*pip, "--python", str(python), "install", *options[:1], *options[2:], str(wheel)], check=True)
    packages = next(environment.glob("Lib/site-packages" if os.name == "nt" else "lib/python*/site-packages"))
    dependencies = folder / "dependencies.pth"
    others = [entry for entry in sys.path if entry.endswith("site-packages")]
    dependencies.write_text("\n".join(others), encoding="utf-8")
    shutil.move(dependencies, packages)
    return python.with_name("img2vid.exe" if os.name == "nt" else "img2vid")


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "IMG2VID_"))}
    data = {"LOCALAPPDATA": str(tmp_path / "data"), "XDG_DATA_HOME": str(tmp_path / "data"), "HOME": str(tmp_path)}
    return {**kept, **data}


@pytest.mark.slow
def test_an_installed_program_makes_a_video_from_any_folder(
    installed: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    picture = Path(shutil.copy(PROJECT / "assets" / "dandelion.jpg", tmp_path))
    command = [str(installed), "sample", picture.name, "--num-steps", "1"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stderr
    video = Path(done.stdout.strip())
    assert video.stat().st_size > 1000
    assert video.parent.name == "outputs"
    assert video.is_relative_to(tmp_path)


@pytest.mark.slow
def test_an_installed_dashboard_has_the_page_the_theme_and_the_examples(
    installed: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(installed), "dashboard", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}/_stcore/health"
        while True:
            assert process.poll() is None, (tmp_path / "log").read_text()
            try:
                with urllib.request.urlopen(address, timeout=5) as answer:
                    assert answer.read() == b"ok"
                break
            except OSError:
                time.sleep(0.3)
    finally:
        process.terminate()
        process.wait(timeout=60)
    program = "from img2vid import paths; import json; print(json.dumps([*map(str, (paths.PROJECT, paths.home()))]))"
    python = str(installed.with_name("python.exe" if os.name == "nt" else "python"))
    done = subprocess.run(
        [python, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    shipped, own = map(Path, json.loads(done.stdout))
    assert not shipped.is_relative_to(PROJECT)
    assert own.is_relative_to(tmp_path)
    files = {str(path.relative_to(shipped).as_posix()) for path in shipped.rglob("*") if path.is_file()}
    assert {"streamlit_app.py", ".streamlit/config.toml", "configs/versions.yaml", "assets/dandelion.jpg"} <= files
    assert {"configs/clip/ViT-H-14.json", "checkpoints/svd_tiny_xt.safetensors", "requirements/runtime.txt"} <= files
