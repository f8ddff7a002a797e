"""Static checks of the PowerShell scripts, which cannot run here: syntax and the project's conventions."""

import re

import pytest
from machines import PROJECT
from powershell import lint, lint_bytes
from windows.builds import CHOICES

SCRIPTS = sorted([*PROJECT.glob("*.ps1"), *(PROJECT / "scripts").rglob("*.ps1")])
INSTALL = (PROJECT / "install_windows.ps1").read_text(encoding="ascii")
UNINSTALL = (PROJECT / "uninstall_windows.ps1").read_text(encoding="ascii")
FINDER = (PROJECT / "scripts" / "windows" / "find_python.ps1").read_text(encoding="ascii")
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
    import environment

    (versions,) = re.findall(r"@\(([^)]*)\) -notcontains \$version", FINDER)
    supported = {f"3.{minor}" for minor in range(environment.OLDEST[1], environment.NEWEST[1] + 1)}
    assert {*re.findall(r"'([\d.]+)'", versions)} == supported
    (tried,) = re.findall(r"foreach \(\$version in @\(([^)]*)\)\)", FINDER)
    assert {*re.findall(r"'([\d.]+)'", tried)} == supported


@pytest.mark.parametrize("script", [INSTALL, UNINSTALL, FINDER], ids=["install", "uninstall", "finder"])
def test_errors_stop_and_nothing_is_used_before_it_is_set(script: str) -> None:
    if "param(" in script and "[CmdletBinding()]" in script:
        assert "Set-StrictMode -Version 2.0" in script
        assert "$ErrorActionPreference = 'Stop'" in script


@pytest.mark.parametrize("name", ["install_windows", "uninstall_windows"])
def test_the_wrapper_starts_its_script_whatever_the_policy_and_hands_on_the_exit_code(name: str) -> None:
    raw = (PROJECT / f"{name}.cmd").read_bytes()
    assert raw.isascii()
    assert raw.count(b"\n") == raw.count(b"\r\n"), "cmd loses its place in files with bare line feeds"
    text = raw.decode()
    assert f'powershell.exe -NoProfile -ExecutionPolicy Bypass -File "%~dp0{name}.ps1" %*' in text
    assert "set code=%errorlevel%" in text
    assert text.rstrip().endswith("exit /b %code%")
