<#
.SYNOPSIS
    Installs img2vid on Windows 10 and 11, with the torch build for its GPU.
.DESCRIPTION
    Finds a Python and runs scripts\setup_windows.py, which announces each step as "n of N". Steps can be repeated:
    after a failure, follow the printed remedy and run again. See docs\windows.md.

    If the execution policy blocks scripts, use install_windows.cmd, which takes the same parameters.
.PARAMETER Cuda
    The torch build: cu118 (CUDA 11.8, the default), cu126, cu128, cu130, cpu, or auto to choose by GPU and driver.
.PARAMETER Python
    The python.exe to use. By default it is searched for.
.PARAMETER InstallDir
    The folder to copy img2vid to. By default it stays in the folder of this script.
.PARAMETER Models
    Checkpoints to download, such as svd,svd_xt. Asks if omitted.
.PARAMETER WithSgm
    Also installs Stability AI's reference package. Asks if omitted.
.PARAMETER NoLaunch
    Does not open the dashboard at the end.
.PARAMETER DryRun
    Prints every step and command without changing anything.
.PARAMETER Yes
    Uses the default answer for every question.
.PARAMETER LogPath
    The log file. By default install_windows.log in the folder of this script.
.EXAMPLE
    .\install_windows.ps1 -Cuda auto -Models svd_xt
.EXAMPLE
    .\install_windows.ps1 -InstallDir C:\img2vid -DryRun
#>
[CmdletBinding()]
param(
    [ValidateSet('auto', 'cu118', 'cu126', 'cu128', 'cu130', 'cpu')] [string] $Cuda,
    [string] $Python,
    [string] $InstallDir,
    [string[]] $Models,
    [switch] $WithSgm,
    [switch] $NoLaunch,
    [switch] $DryRun,
    [switch] $Yes,
    [string] $LogPath
)

Set-StrictMode -Version 2.0
$ErrorActionPreference = 'Stop'
. (Join-Path $PSScriptRoot 'scripts\windows\find_python.ps1')

function Confirm-Step {
    <# $true if the user agrees, or if there are no questions. #>
    param([string] $Question, [bool] $Silent)
    if ($Silent) {
        return $true
    }
    $answer = Read-Host "$Question [Y/n]"
    return (-not $answer) -or ($answer -match '^[yY]')
}

function Get-PythonInstaller {
    <# Downloads the last classic installer of Python 3.12 and checks it. Returns its path, or $null. #>
    param([string] $Log)
    $address = 'https://www.python.org/ftp/python/3.12.10/python-3.12.10-amd64.exe'
    $sum = '67b5635e80ea51072b87941312d00ec8927c4db9ba18938f7ad2d27b328b95fb'
    $file = Join-Path ([System.IO.Path]::GetTempPath()) 'python-3.12.10-amd64.exe'
    $ProgressPreference = 'SilentlyContinue'
    try {
        [Net.ServicePointManager]::SecurityProtocol = [Net.SecurityProtocolType]::Tls12
        Invoke-WebRequest -Uri $address -OutFile $file -UseBasicParsing
        $found = (Get-FileHash -LiteralPath $file -Algorithm SHA256).Hash
    }
    catch {
        Write-Note -Text "Cannot download $address ($($_.Exception.Message))." -Log $Log
        return $null
    }
    if ($found -ne $sum) {
        Write-Note -Text "$address has the checksum $found instead of $sum; it is not run." -Log $Log
        Remove-Item -LiteralPath $file
        return $null
    }
    return $file
}

function Install-Python {
    <# Installs a Python after asking, with winget or with Python's installer. Returns $true on success. #>
    param([bool] $Silent, [string] $Log)
    $winget = Get-Command -Name 'winget.exe' -CommandType Application -ErrorAction SilentlyContinue
    if ($winget -and (Confirm-Step -Question 'Install Python 3.12 with winget?' -Silent $Silent)) {
        $arguments = @('install', '--id', 'Python.Python.3.12', '--exact', '--source', 'winget', '--scope', 'user')
        $arguments += @('--architecture', 'x64', '--accept-package-agreements', '--accept-source-agreements')
        & $winget.Path $arguments | Out-Host
        if ($LASTEXITCODE -eq 0) {
            return $true
        }
        Write-Note -Text "winget failed (exit code $LASTEXITCODE)." -Log $Log
    }
    if (Confirm-Step -Question 'Download Python 3.12.10 from python.org and install it?' -Silent $Silent) {
        $file = Get-PythonInstaller -Log $Log
        if ($file) {
            $options = @('/passive', 'InstallAllUsers=0', 'Include_test=0')
            $installer = Start-Process -FilePath $file -ArgumentList $options -Wait -PassThru
            if (@(0, 3010) -contains $installer.ExitCode) {
                return $true
            }
            Write-Note -Text "Python's installer failed (exit code $($installer.ExitCode))." -Log $Log
        }
    }
    $page = 'https://www.python.org/downloads/windows/'
    Write-Note -Text "Install Python 3.12, 64-bit, from $page and run again." -Log $Log
    return $false
}

function Select-Python {
    <# The Python to use, or $null after reporting what is missing. #>
    param([string] $Named, [bool] $Silent, [bool] $Dry, [string] $Log)
    if ($Named) {
        $tested = Test-Python -Program $Named -Arguments ''
        if ($tested.Path -and (-not $tested.Reason)) {
            return $tested.Path
        }
        $reason = $tested.Reason
        if (-not $reason) {
            $reason = "$Named does not run"
        }
        Write-Note -Text "-Python cannot be used: $reason." -Log $Log
        return $null
    }
    $found = Find-Python -Log $Log
    if ($found) {
        return $found
    }
    Write-Note -Text "No suitable Python found: img2vid needs $(Get-SupportedRange), 64-bit." -Log $Log
    if ($Dry) {
        Write-Note -Text 'Python 3.12 would be offered; the other steps can be listed once there is a Python.' -Log ''
        return $null
    }
    if (Install-Python -Silent $Silent -Log $Log) {
        return Find-Python -Log $Log
    }
    return $null
}

function Get-SetupArgument {
    <# The arguments for setup_windows.py. #>
    param([string] $Script, [hashtable] $Given, [string] $Log)
    $arguments = @($Script, 'install')
    if ($Given.ContainsKey('Cuda')) {
        $arguments += @('--cuda', $Given['Cuda'])
    }
    if ($Given.ContainsKey('InstallDir')) {
        $arguments += @('--install-dir', (Remove-EndingBackslash -Path $Given['InstallDir']))
    }
    if ($Given.ContainsKey('Models')) {
        $arguments += @('--models', ($Given['Models'] -join ','))
    }
    $switches = @{ WithSgm = '--with-sgm'; NoLaunch = '--no-launch'; DryRun = '--dry-run'; Yes = '--yes' }
    foreach ($name in $switches.Keys) {
        if ($Given.ContainsKey($name) -and $Given[$name]) {
            $arguments += $switches[$name]
        }
    }
    if ($Given.ContainsKey('Python')) {
        $arguments += '--python-named'
    }
    if ($Log) {
        $arguments += @('--log', $Log)
    }
    return $arguments
}

$log = ''
if (-not $DryRun) {
    if (-not $LogPath) {
        $LogPath = Join-Path $PSScriptRoot 'install_windows.log'
    }
    $log = Remove-EndingBackslash -Path $LogPath
}
$chosen = Select-Python -Named $Python -Silent $Yes.IsPresent -Dry $DryRun.IsPresent -Log $log
if (-not $chosen) {
    exit 1
}
$given = @{}
foreach ($name in $PSBoundParameters.Keys) {
    $given[$name] = $PSBoundParameters[$name]
}
$setup = Join-Path $PSScriptRoot 'scripts\setup_windows.py'
$arguments = Get-SetupArgument -Script $setup -Given $given -Log $log
& $chosen $arguments
$code = $LASTEXITCODE
if (($code -ne 0) -and $log) {
    Write-Host "Log file: $log"
}
exit $code
