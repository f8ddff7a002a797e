<#
.SYNOPSIS
    Removes what install_windows.ps1 installed; checkpoints and videos stay unless you say otherwise.
.DESCRIPTION
    Removes the Python environment, run_dashboard.cmd, the shortcuts and the log. The program's own files stay:
    delete the folder afterwards when you need nothing of it.
.PARAMETER InstallDir
    The folder of img2vid. By default the folder of this script.
.PARAMETER Python
    The python.exe that does the work. By default one is looked for.
.PARAMETER RemoveCheckpoints
    Also removes the downloaded checkpoints.
.PARAMETER RemoveOutputs
    Also removes the folder outputs, with all videos and settings in it.
.PARAMETER DryRun
    Prints what would be removed, and changes nothing.
.PARAMETER Yes
    Asks nothing.
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

# Not the Python of the environment, which is about to go.
$chosen = $Python
if (-not $chosen) {
    $chosen = Find-Python -Log ''
}
if (-not $chosen) {
    Write-Host 'No Python 3.10 to 3.13 was found. Delete .venv and run_dashboard.cmd by hand: that is all there is.'
    exit 1
}
$arguments = @((Join-Path $PSScriptRoot 'scripts\setup_windows.py'), 'uninstall')
if ($InstallDir) {
    $full = $ExecutionContext.SessionState.Path.GetUnresolvedProviderPathFromPSPath($InstallDir)
    $arguments += @('--install-dir', $full.TrimEnd('\'))
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
