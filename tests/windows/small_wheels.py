"""Empty wheels for a given system and Python."""

import zipfile
from pathlib import Path


def write_platform_wheel(
    folder: Path, name: str, version: str, tag: str, *, requires: str = "", python: str = ""
) -> None:
    info = f"{name}-{version}.dist-info"
    needs = (f"Requires-Dist: {requires}\n" if requires else "") + (f"Requires-Python: {python}\n" if python else "")
    files = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: false\nTag: {tag}\n",
        f"{info}/RECORD": "",
    }
    with zipfile.ZipFile(folder / f"{name}-{version}-{tag}.whl", "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
