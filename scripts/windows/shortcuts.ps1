<#
.SYNOPSIS
    Creates or removes the shortcuts to img2vid on the desktop and in the Start menu.
.PARAMETER Target
    The file that the shortcuts open: run_dashboard.cmd in the program folder.
.PARAMETER Remove
    Removes only the shortcuts that open this target.
#>
[CmdletBinding()]
param(
    [Parameter(Mandatory = $true)] [string] $Target,
    [switch] $Remove
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
try {
    $shell = New-Object -ComObject WScript.Shell
    foreach ($name in @('Desktop', 'Programs')) {
        $folder = [Environment]::GetFolderPath($name)
        if (-not $folder) {
            continue
        }
        $link = Join-Path $folder 'img2vid.lnk'
        if (-not $Remove) {
            $shortcut = $shell.CreateShortcut($link)
            $shortcut.TargetPath = $Target
            $shortcut.WorkingDirectory = Split-Path -Parent $Target
            $shortcut.Description = 'Opens the img2vid dashboard'
            $shortcut.Save()
            Write-Host "    created $link"
        }
        elseif ((Test-Path -LiteralPath $link) -and ($shell.CreateShortcut($link).TargetPath -eq $Target)) {
            Remove-Item -LiteralPath $link
            Write-Host "    removed $link"
        }
    }
}
catch {
    Write-Host "    Shortcuts failed: $($_.Exception.Message)"
    exit 1
}
exit 0
