"""Static checks of the PowerShell scripts, which cannot run here: syntax and the project's conventions."""

import re
from pathlib import Path

import pytest
from machines import PROJECT
from powershell import lint, lint_bytes
from windows.builds import CHOICES

from img2vid import NEWEST, OLDEST

SCRIPTS = sorted([*PROJECT.glob("*.ps1"), *(PROJECT / "scripts").rglob("*.ps1")])
INSTALL = (PROJECT / "install_windows.ps1").read_text(encoding="ascii")
UNINSTALL = (PROJECT / "uninstall_windows.ps1").read_text(encoding="ascii")
FINDER = (PROJECT / "scripts" / "windows" / "find_python.ps1").read_text(encoding="ascii")
START = (PROJECT / "scripts" / "windows" / "start.cmd").read_bytes().decode("ascii")
GOOD = b"""
function Get-It {
    param([string] $Path)
    & $program $Path
    if ($LASTEXITCODE -ne 0) {
        return $null
    }
    return Get-Content -LiteralPath $Path
}
"""
WRONG = {
    "if ($a) {\n": "syntax error",
    "$a = @(1, 2\n": "syntax error",
    "foreach $x in $y { $x }\n": "syntax error",
    "$a = 'one\n": "syntax error",
    "try { Get-Date }\n": "try without catch",
    "$a = $b ? 1 : 2\n": "only PowerShell 7",
    "$a = $b ?? 1\n": "only PowerShell 7",
    "Get-Date && Get-Date\n": "only PowerShell 7",
    "Get-Date || Get-Date\n": "only PowerShell 7",
    "& $program\n": "exit code is not looked at",
    "& $program\nWrite-Host 'done'\nif ($LASTEXITCODE) { exit 1 }\n": "exit code is not looked at",
    "if ($x) {\n& $program\n}\n$code = $LASTEXITCODE\n": "exit code is not looked at",
    "winget install it\n": "called by its bare name",
    "Get-Content $path\n": "without -LiteralPath",
    "Test-Path -Path $path\n": "without -LiteralPath",
    "Invoke-Expression $text\n": "Invoke-Expression",
    "Get-It 2>&1\n": "redirected standard error",
    "Write-Host 'caf\u00e9'\n": "not ASCII",
    "Invoke-WebRequest -Uri $address -UseBasicParsing\n": "without tls12",
    "[Net.ServicePointManager]::SecurityProtocol = 'Tls12'\nInvoke-WebRequest $a\n": "without -usebasicparsing",
}
PARAMETERS = {"Cuda", "Python", "InstallDir", "Models", "WithSgm", "NoLaunch", "DryRun", "Yes", "LogPath"}


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_nothing_is_found_in_our_scripts(path) -> None:
    assert lint(path) == []
    lines = path.read_text(encoding="ascii").splitlines()
    assert max(map(len, lines)) <= 120
    assert len(lines) < 400


def test_the_scripts_are_all_there() -> None:
    names = {path.name for path in SCRIPTS}
    assert names == {"install_windows.ps1", "uninstall_windows.ps1", "find_python.ps1", "shortcuts.ps1"}


def test_what_is_right_is_let_through() -> None:
    assert lint_bytes(GOOD) == []


@pytest.mark.parametrize(("source", "problem"), WRONG.items())
def test_what_is_wrong_is_found(source: str, problem: str) -> None:
    assert problem in " / ".join(finding.problem for finding in lint_bytes(source.encode()))


@pytest.mark.parametrize("number", range(len(INSTALL.split("}")) - 1))
def test_a_brace_that_got_lost_is_found(number: int) -> None:
    parts = INSTALL.split("}")
    broken = "}".join(parts[: number + 1]) + "}".join(parts[number + 1 :])
    assert lint_bytes(broken.encode())


def parameters(script: str) -> set[str]:
    block = script[script.index("[CmdletBinding()]") : script.index("Set-StrictMode")]
    return set(re.findall(r"\$(\w+)", block)) - {"true"}


@pytest.mark.parametrize("script", [INSTALL, UNINSTALL], ids=["install", "uninstall"])
def test_every_parameter_is_explained_in_the_help(script: str) -> None:
    assert {*re.findall(r"^\.PARAMETER (\w+)$", script, re.MULTILINE)} == parameters(script)
    assert script.startswith("<#\n.SYNOPSIS\n")
    assert ".EXAMPLE" in script


def test_the_parameters_are_those_that_were_promised() -> None:
    assert parameters(INSTALL) == PARAMETERS
    (choices,) = re.findall(r"ValidateSet\(([^)]*)\)", INSTALL)
    assert {*re.findall(r"'(\w+)'", choices)} == {*CHOICES}


@pytest.mark.parametrize("script", [INSTALL, UNINSTALL], ids=["install", "uninstall"])
def test_what_is_handed_over_is_what_the_python_script_takes(script: str) -> None:
    import setup_windows

    (command,) = {*re.findall(r"'(install|uninstall)'", script)}
    options = {*re.findall(r"'(--[a-z-]+)'", script)} - {"--id", "--exact", "--source", "--scope", "--architecture"}
    options -= {option for option in options if option.startswith("--accept-")}
    assert options
    for option in options:
        values = {"--cuda": ["cpu"], "--install-dir": ["x"], "--models": ["svd"], "--log": ["x"]}.get(option, [])
        assert setup_windows.parser().parse_args([command, option, *values])


def test_the_versions_of_python_are_the_supported_ones() -> None:
    """The script reads the range from the package with this expression."""
    (pattern,) = re.findall(r"-match '(OLDEST.*)'", FINDER)
    (found,) = re.findall(pattern, (PROJECT / "img2vid" / "__init__.py").read_text(encoding="utf-8"))
    assert tuple(map(int, found)) == (OLDEST[1], NEWEST[1])
    assert "'3.12', '3.11'" in FINDER, "the default build of torch has no wheels for the newest Python"


@pytest.mark.parametrize("script", [INSTALL, UNINSTALL, FINDER], ids=["install", "uninstall", "finder"])
def test_errors_stop_and_nothing_is_used_before_it_is_set(script: str) -> None:
    if "param(" in script and "[CmdletBinding()]" in script:
        assert "Set-StrictMode -Version 2.0" in script
        assert "$ErrorActionPreference = 'Stop'" in script


def command_file(path: Path) -> str:
    raw = path.read_bytes()
    assert raw.isascii()
    assert raw.count(b"\n") == raw.count(b"\r\n"), "cmd loses its place in files with bare line feeds"
    return raw.decode()


@pytest.mark.parametrize("name", ["install", "uninstall"])
def test_the_wrappers_hand_their_folder_and_parameters_on(name: str) -> None:
    lines = command_file(PROJECT / f"{name}_windows.cmd").splitlines()
    assert lines[-3:] == [
        'set "IMG2VID_FOLDER=%~dp0"',
        f'set "IMG2VID_COMMAND={name}"',
        '"%~dp0scripts\\windows\\start.cmd" %*',
    ], "without call, which would read the parameters twice"


def test_the_script_is_started_whatever_the_policy_and_its_exit_code_handed_on() -> None:
    script = '"%IMG2VID_FOLDER%%IMG2VID_COMMAND%_windows.ps1"'
    assert f"powershell.exe -NoProfile -ExecutionPolicy Bypass -File {script} %*" in START
    assert START.index("-File") < START.index("set code=%errorlevel%") < START.index("goto end")
    assert START.rstrip().endswith("exit /b %code%")


def test_what_runs_before_the_script_is_valid_and_needs_no_script() -> None:
    """It unblocks the files, and exits with 9 if a policy forbids scripts, which only then is said."""
    settings = dict(re.findall(r'^set "(\w+)=(.*)"\r$', START, re.MULTILINE))
    (command,) = re.findall(r'-Command "(.*)"\r$', START, re.MULTILINE)
    while names := re.findall(r"%(\w+)%", command):
        for name in names:
            command = command.replace(f"%{name}%", settings[name])
    assert lint_bytes(command.encode()) == []
    assert not {'"', "%", "^"} & {*command}, "cmd would read them"
    assert command.index("Unblock-File") < command.index("find_python.ps1") < command.index("exit 9")
    assert re.search(
        r'errorlevel%"=="9" goto policy\r\n.*?goto end\r\n:policy\r\necho A group policy', START, re.DOTALL
    )


def test_text_of_python_arrives_whatever_the_code_pages_are() -> None:
    """Windows PowerShell reads output in the code page of the console, and Python writes it in that of Windows."""
    assert "$start.StandardOutputEncoding = [System.Text.Encoding]::UTF8" in FINDER
    assert re.findall(r'\$all = ".*', FINDER) == ['$all = "$Arguments -I -X utf8 -c ""$code"""']


def test_pythons_of_the_install_manager_are_found_and_only_the_stores_refused() -> None:
    assert r"pythoncore-$version-64\python.exe" in FINDER
    (refused,) = re.findall(r"if \((.*) -like '\*\\WindowsApps\\\*'\)", FINDER)
    assert refused == r"($parts[3] + '\')"
    assert "struct.calcsize('P') * 8, sys.base_prefix, sys.executable" in FINDER


def test_what_is_downloaded_is_checked_before_it_runs() -> None:
    assert INSTALL.index("Get-FileHash") < INSTALL.index("if ($found -ne $sum)") < INSTALL.index("Start-Process")
    (address,) = re.findall(r"'(https://\S+\.exe)'", INSTALL)
    assert address == "https://www.python.org/ftp/python/3.12.10/python-3.12.10-amd64.exe"
    assert len(re.findall(r"'[0-9a-f]{64}'", INSTALL)) == 1


def test_a_folder_is_checked_by_python_alone() -> None:
    """PowerShell raises an exception for a drive that does not exist."""
    for script in (INSTALL, UNINSTALL):
        assert "GetUnresolvedProviderPath" not in script
        assert "'--install-dir', (Remove-EndingBackslash -Path $" in script
