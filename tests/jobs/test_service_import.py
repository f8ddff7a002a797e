"""Import time of the service, which pages import before they are drawn."""

import subprocess
import sys

HEAVY = ("torch", "torchvision", "open_clip", "distributed", "dask", "streamlit")
PROGRAM = f"""
import sys, img2vid.jobs.service, img2vid.jobs.wait, img2vid.jobs.local_cluster
print([name for name in {HEAVY!r} if name in sys.modules])
"""


def test_importing_the_service_imports_neither_torch_nor_dask() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
