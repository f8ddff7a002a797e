<#
.SYNOPSIS
    Functions that find a Python for img2vid, used by install_windows.ps1 and uninstall_windows.ps1.
#>

function Write-Note {
    <# Prints a message and appends it to the log, if any. #>
    param([string] $Text, [string] $Log)
    Write-Host $Text
    if ($Log) {
        Add-Content -LiteralPath $Log -Value $Text -Encoding UTF8
    }
}

function Invoke-Quiet {
    <# Runs a program without a window. Returns its exit code and standard output; -1 if it does not start. #>
    param([string] $Program, [string] $Arguments)
    $start = New-Object System.Diagnostics.ProcessStartInfo
    $start.FileName = $Program
    $start.Arguments = $Arguments
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    # Stops newer launchers from downloading a missing Python when asked for its version.
    $start.EnvironmentVariables['PYTHON_MANAGER_AUTOMATIC_INSTALL'] = 'false'
    try {
        $process = [System.Diagnostics.Process]::Start($start)
    }
    catch {
        return New-Object PSObject -Property @{ ExitCode = -1; Output = '' }
    }
    $errors = $process.StandardError.ReadToEndAsync()
    $output = $process.StandardOutput.ReadToEnd()
    $process.WaitForExit()
    $errors.Wait()
    return New-Object PSObject -Property @{ ExitCode = $process.ExitCode; Output = $output.Trim() }
}

function Get-PythonCandidate {
    <# Candidate Python programs, most likely first, with the arguments that select a version. #>
    $folders = @((Join-Path $env:LOCALAPPDATA 'Programs\Python'), $env:ProgramFiles)
    $launchers = @('py.exe', (Join-Path $env:LOCALAPPDATA 'Programs\Python\Launcher\py.exe'))
    foreach ($version in @('3.12', '3.11', '3.10', '3.13')) {
        foreach ($launcher in $launchers) {
            New-Object PSObject -Property @{ Program = $launcher; Arguments = "-$version" }
        }
        foreach ($folder in $folders) {
            $program = Join-Path $folder ('Python' + $version.Replace('.', '') + '\python.exe')
            New-Object PSObject -Property @{ Program = $program; Arguments = '' }
        }
    }
    foreach ($found in @(Get-Command -Name 'python.exe' -CommandType Application -All -ErrorAction SilentlyContinue)) {
        New-Object PSObject -Property @{ Program = $found.Path; Arguments = '' }
    }
}

function Test-Python {
    <# The path of a candidate's Python, and the reason if it is not suitable. #>
    param([string] $Program, [string] $Arguments)
    $code = "import sys, struct; v = sys.version_info; "
    $code += "print(v[0], v[1], struct.calcsize('P') * 8, sys.executable, sep='|')"
    $all = "$Arguments -I -c ""$code"""
    $asked = Invoke-Quiet -Program $Program -Arguments $all
    $parts = $asked.Output.Split('|')
    if (($asked.ExitCode -ne 0) -or ($parts.Count -ne 4)) {
        $reason = ''
        if ($Program -like '*\WindowsApps\python*.exe') {
            $reason = "$Program is only an alias that opens the Microsoft Store"
        }
        elseif (Test-Path -LiteralPath $Program) {
            $reason = "$Program does not run (exit code $($asked.ExitCode))"
        }
        return New-Object PSObject -Property @{ Path = ''; Reason = $reason }
    }
    $path = $parts[3]
    $version = $parts[0] + '.' + $parts[1]
    $reason = ''
    if ($path -like '*\WindowsApps\*') {
        $reason = "$path is a Microsoft Store Python, which redirects the files it writes to another location"
    }
    elseif (@('3.10', '3.11', '3.12', '3.13') -notcontains $version) {
        $reason = "$path is Python $version, but img2vid needs 3.10 to 3.13"
    }
    elseif ($parts[2] -ne '64') {
        $reason = "$path is a $($parts[2])-bit Python, but torch needs 64 bits"
    }
    return New-Object PSObject -Property @{ Path = $path; Reason = $reason }
}

function Find-Python {
    <# The path of a suitable Python, or $null after reporting why each candidate is not suitable. #>
    param([string] $Log)
    $reasons = @()
    foreach ($candidate in @(Get-PythonCandidate)) {
        $tested = Test-Python -Program $candidate.Program -Arguments $candidate.Arguments
        if ($tested.Path -and (-not $tested.Reason)) {
            return $tested.Path
        }
        if ($tested.Reason -and ($reasons -notcontains $tested.Reason)) {
            $reasons += $tested.Reason
        }
    }
    foreach ($reason in $reasons) {
        Write-Note -Text "Not used: $reason." -Log $Log
    }
    return $null
}
