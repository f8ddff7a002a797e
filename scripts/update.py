"""Updates the checkout: its files with git, then its packages; undone if the doctor finds a new problem.

python3 scripts/run.py update        a folder without git is updated by unpacking the new version over it first
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from environment import PROJECT, VENV, SetupError, home_in_use, python, say, site_packages

BEFORE = VENV / "before-update"
"""Copy of the installed packages, made of hard links."""


def main(arguments: list[str]) -> int:
    if arguments:
        print(__doc__)
        return 0 if arguments[0] in ("-h", "--help") else 2
    if used := user():
        raise SetupError(f"{used}; close the dashboard and wait for running commands, then update again.")
    incoming = new_commits() if (PROJECT / ".git").exists() else None
    if incoming is None:
        say(f"{PROJECT} has no git history, so only its packages are updated; unpack the new version over it first.")
    elif not incoming:
        say("There is no newer version; checking the packages.")
    say("Checking the current version with the doctor.")
    before = problems()
    with restored_on_failure():
        if incoming:
            say(f"Updating by {incoming} commit{'s' if incoming > 1 else ''}.")
            git("merge", "--ff-only", "--quiet", "@{upstream}")
        if set_up():
            raise SetupError("The packages of the new version cannot be installed.")
        say("Checking the new version with the doctor.")
        new = {check: found for check, found in problems().items() if check not in before}
        if new:
            raise SetupError("The doctor found a new problem. " + " ".join(f"{name}: {new[name]}" for name in new))
    say("img2vid is up to date." if incoming != 0 else "img2vid was up to date.")
    return 0


def user() -> str:
    """Describe what uses the environment: a process with the home's lock or, on Windows, with a loaded library."""
    if home := home_in_use(PROJECT):
        return f"img2vid is running with the home {home}"
    packages = site_packages()
    for path in packages.rglob("*.pyd") if packages and os.name == "nt" else ():
        try:
            path.open("r+b").close()
        except PermissionError:
            return f"a running program has {path} open"
    return ""


def git(*arguments: str) -> str:
    """Return git's output. Raise SetupError with its last line."""
    surroundings = {**os.environ, "LC_ALL": "C", "GIT_TERMINAL_PROMPT": "0"}
    command = ["git", "-C", str(PROJECT), *arguments]
    try:
        done = subprocess.run(
            command, env=surroundings, capture_output=True, encoding="utf-8", errors="replace", check=False
        )
    except FileNotFoundError:
        raise SetupError("git is missing; install it, and update again.") from None
    if done.returncode:
        words = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        raise SetupError(f"`git {' '.join(arguments)}` failed: {words[-1].rstrip('.')}.")
    return done.stdout.strip()


def new_commits() -> int:
    """Fetch the new version and return its number of commits. Raise SetupError if they cannot simply be added."""
    try:
        branch = git("symbolic-ref", "--short", "HEAD")
    except SetupError:
        raise SetupError("The checkout is on no branch; run `git switch main`, then update again.") from None
    try:
        git("rev-parse", "--verify", "--quiet", "@{upstream}")
    except SetupError:
        raise SetupError(
            f"The branch {branch} has no upstream; run `git branch --set-upstream-to origin/{branch}` first."
        ) from None
    changed = git("diff", "--name-only", "HEAD").splitlines()
    if changed:
        names = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if changed[3:] else "")
        raise SetupError(
            f"There are unsaved changes in {names}; run `git stash`, update, then bring them back with `git stash pop`."
        )
    try:
        git("fetch", "--quiet")
    except SetupError as error:
        raise SetupError(f"The new version cannot be fetched; check the network. {error}") from None
    ours, theirs = git("rev-list", "--left-right", "--count", "HEAD...@{upstream}").split()
    if int(ours) and int(theirs):
        raise SetupError(f"The branch {branch} has {ours} commits of its own; run `git pull --rebase` instead.")
    return int(theirs)


def problems() -> dict[str, str]:
    """Return the problems that the doctor finds, by check."""
    command = [str(python()), "-m", "img2vid", "doctor", "--json"]
    surroundings = {**os.environ, "PYTHONSAFEPATH": "1"}
    try:
        done = subprocess.run(command, cwd=PROJECT, env=surroundings, capture_output=True, check=False)
        checks = json.loads(done.stdout)["checks"]
    except (OSError, ValueError):
        return {"doctor": "It does not start."}
    return {row["check"]: row["found"] for row in checks if row["state"] == "problem"}


def set_up() -> int:
    """Install what the files need, with their own script, and return an exit code."""
    return subprocess.run([sys.executable, str(PROJECT / "scripts" / "run.py"), "--setup-only"], check=False).returncode


@contextmanager
def restored_on_failure() -> Iterator[None]:
    """Undo the block's changes to the files and to the packages if it fails, also after Ctrl-C."""
    commit = git("rev-parse", "HEAD") if (PROJECT / ".git").exists() else ""
    packages = site_packages()
    remove(BEFORE)
    try:
        if packages:
            shutil.copytree(packages, BEFORE, symlinks=True, copy_function=link)
        try:
            yield
        except BaseException:
            say("Restoring the previous version.")
            if packages:
                restore(packages)
            if commit:
                git("reset", "--keep", "--quiet", commit)
            set_up()
            raise
    finally:
        remove(BEFORE)


def link(source: str, target: str) -> None:
    """Make a hard link, or a copy if the file system has none. Installers replace files and never write into them."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def restore(packages: Path) -> None:
    """Restore the previous packages."""
    failed = BEFORE.with_name("failed-update")
    remove(failed)
    packages.rename(failed)
    BEFORE.rename(packages)
    remove(failed)


def remove(folder: Path) -> None:
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)
