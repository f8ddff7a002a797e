<#
.SYNOPSIS
    Removes what install_windows.ps1 installed. Checkpoints and videos are kept by default.
.DESCRIPTION
    Removes the Python environment, run_dashboard.cmd, the shortcuts and the log. The program's own files are kept;
    delete the folder afterwards if you no longer need it.
.PARAMETER InstallDir
    The folder of img2vid. By default the folder of this script.
.PARAMETER Python
    The python.exe to use. By default it is searched for.
.PARAMETER RemoveCheckpoints
    Also removes the downloaded checkpoints.
.PARAMETER RemoveOutputs
    Also removes the folder outputs with all its videos and settings.
.PARAMETER DryRun
    Prints what would be removed without changing anything.
.PARAMETER Yes
    Does not ask for confirmation.
.EXAMPLE
    .\uninstall_windows.ps1 -DryRun
#>
[CmdletBinding()]
param(
    [string] $InstallDir,
    [string] $Python,
    [switch] $RemoveCheckpoints,
    [switch] $RemoveOutputs,
    [switch] $DryRun,
    [switch] $Yes
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'scripts\windows\find_python.ps1')

# Not the environment's Python, which is about to be removed.
$chosen = $Python
if (-not $chosen) {
    $chosen = Find-Python -Log ''
}
if (-not $chosen) {
    Write-Host "No Python $(Get-SupportedRange) found. To uninstall by hand, delete .venv and run_dashboard.cmd."
    exit 1
}
$arguments = @((Join-Path $PSScriptRoot 'scripts\setup_windows.py'), 'uninstall')
if ($InstallDir) {
    $arguments += @('--install-dir', (Remove-EndingBackslash -Path $InstallDir))
}
if ($RemoveCheckpoints) {
    $arguments += '--remove-checkpoints'
}
if ($RemoveOutputs) {
    $arguments += '--remove-outputs'
}
if ($DryRun) {
    $arguments += '--dry-run'
}
if ($Yes) {
    $arguments += '--yes'
}
& $chosen $arguments
exit $LASTEXITCODE
