"""Installs or uninstalls img2vid on Windows; run by `install_windows.ps1` and `uninstall_windows.ps1`.

py scripts\\setup_windows.py install --help
py scripts\\setup_windows.py uninstall --help
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from environment import PROJECT, SetupError, guard, home_in_use
from windows.builds import CHOICES
from windows.console import Questions, logged
from windows.folder import copy_program, refuse_bad_target
from windows.install_options import Options, settle
from windows.machine import RUNNING, obstacles, read_machine
from windows.plan import make_plan
from windows.progress import carry_out
from windows.removal import plan_removal, remove


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="setup_windows.py", description=__doc__)
    both = argparse.ArgumentParser(add_help=False)
    both.add_argument("--install-dir", type=Path, default=PROJECT, metavar="DIR", help="program folder")
    both.add_argument("--dry-run", action="store_true", help="print the plan without changing anything")
    both.add_argument("--yes", action="store_true", help="use the default answer for every question")
    both.add_argument("--log", type=Path, metavar="FILE", help="also write the output to this file")
    commands = top.add_subparsers(metavar="COMMAND", required=True)
    one = commands.add_parser("install", parents=[both], help="install, repair or update")
    one.set_defaults(command=install)
    one.add_argument("--cuda", choices=CHOICES, help="torch build (default: cu118)")
    one.add_argument("--models", nargs="+", metavar="NAME", help="checkpoints to download, such as svd,svd_xt")
    one.add_argument("--with-sgm", action=argparse.BooleanOptionalAction, help="also install the reference package")
    one.add_argument("--no-launch", action="store_true", help="do not open the dashboard at the end")
    one.add_argument("--python-named", action="store_true", help="recreate an environment of another Python version")
    two = commands.add_parser("uninstall", parents=[both], help="remove what was installed")
    two.set_defaults(command=uninstall)
    two.add_argument("--remove-checkpoints", action="store_true", help="also remove downloaded checkpoints")
    two.add_argument("--remove-outputs", action="store_true", help="also remove the videos and settings in outputs")
    return top


def install(options: argparse.Namespace) -> int:
    target = options.install_dir.resolve()
    if not options.dry_run:
        refuse_running(target)
    if target != PROJECT:
        if not options.dry_run:
            copy_program(PROJECT, target)
            script = str(target / "scripts" / Path(__file__).name)
            return subprocess.run([sys.executable, script, *sys.argv[1:]], check=False).returncode
        refuse_bad_target(PROJECT, target)
        print(f"The program would be copied from {PROJECT} to {target} and continue there:")
    machine = read_machine(target)
    questions = Questions(silent=options.yes or options.dry_run or bool(obstacles(machine, 0)))
    wanted = Options(options.cuda, options.models, options.with_sgm, not options.no_launch, options.python_named)
    plan = make_plan(machine, settle(wanted, machine, PROJECT, questions), PROJECT)
    if options.dry_run:
        print(plan.text(), end="")
        return 1 if plan.obstacles else 0
    return carry_out(plan)


def refuse_running(root: Path) -> None:
    if home_in_use(root):
        raise SetupError(f"{RUNNING[0].upper()}{RUNNING[1:]}; close its window and run again.")


def uninstall(options: argparse.Namespace) -> int:
    root = options.install_dir.resolve()
    if not options.dry_run:
        refuse_running(root)
    if not (root / "img2vid" / "__init__.py").is_file():
        raise SetupError(f"img2vid is not in {root}; pass its folder with -InstallDir.")
    removal = plan_removal(root, checkpoints=options.remove_checkpoints, outputs=options.remove_outputs)
    print(removal.text(), end="")
    if options.dry_run or not Questions(silent=options.yes).confirm("Remove this?", True):
        return 0
    code = remove(removal, root)
    print(f"Done. The program's own files are still in {root}; delete them if you no longer need them.")
    return code


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    with logged(None if options.dry_run else options.log):
        try:
            return options.command(options)
        except SetupError as error:
            print(error)
            return 1


if __name__ == "__main__":
    guard(main)
