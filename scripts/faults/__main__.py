"""Breaks a running dashboard in a temporary home, and checks that finished videos stay and the next job runs.

.venv/bin/python scripts/faults KIND [COUNT]

kills 40      kill -9 of the server and of the worker, at each stage in turn
jobs 60       many jobs in one worker, whose memory must stay within 5 %
together      two dashboards and the command line on one home; the first dashboard is killed
clock         a clock that jumps by a day and by hours while jobs run (Linux, with a C compiler)
sessions 20   tabs that change pages and make a video each, for five minutes
deleted       outputs, latents and the database deleted or damaged while a job runs
disk-full     a full disk at each stage of a job (Linux, as root)
writes        a full disk at each kind of write of the page (Linux, as root)
read-only     a home that an ordinary user cannot write (Linux, as root)

docs/reliability.md lists the results.
"""

import subprocess
import sys
import tempfile
from pathlib import Path


def main(arguments: list[str]) -> None:
    """Run one kind of fault."""
    from faults import disk, processes
    from faults.clock import clock
    from faults.server import Server
    from faults.visitors import sessions
    from faults.writes import writes

    kind, count = (arguments[0] if arguments else ""), int(arguments[1]) if arguments[1:] else 40
    kinds = {
        "kills": lambda server: processes.kills(server, count),
        "jobs": lambda server: processes.jobs(server, count),
        "sessions": lambda server: sessions(server, count),
        "clock": clock,
        "together": processes.together,
        "deleted": disk.deleted,
        "disk-full": disk.disk_full,
        "writes": writes,
        "read-only": disk.read_only,
    }
    sizes = {"disk-full": "12m", "writes": "60m"}
    if kind not in kinds:
        raise SystemExit(__doc__)
    with tempfile.TemporaryDirectory(prefix="img2vid-faults-", ignore_cleanup_errors=True) as folder:
        home = Path(folder) / "home"
        home.mkdir()
        if kind in sizes:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={sizes[kind]}", "tmpfs", str(home)], check=True)
        server = Server(home)
        try:
            kinds[kind](server)
            print(f"{len(server.done)} finished videos are intact and listed")
        finally:
            server.store.close()
            if server.process is not None and server.process.is_running():
                server.kill()
            if kind in sizes:
                subprocess.run(["umount", str(home)], check=False)


if __name__ == "__main__":
    sys.path[:1] = [str(Path(__file__).resolve().parent.parent), str(Path(__file__).resolve().parent.parent.parent)]
    from img2vid.windows import escape_output

    escape_output()
    main(sys.argv[1:])
