<#
.SYNOPSIS
    Functions that find a Python for img2vid; install_windows.ps1 and uninstall_windows.ps1 read this file.
#>

function Write-Note {
    <# Says something, and keeps it in the log where there is one. #>
    param([string] $Text, [string] $Log)
    Write-Host $Text
    if ($Log) {
        Add-Content -LiteralPath $Log -Value $Text -Encoding UTF8
    }
}

function Invoke-Quiet {
    <# Runs a program without a window and returns its exit code and standard output; -1 where it does not start. #>
    param([string] $Program, [string] $Arguments)
    $start = New-Object System.Diagnostics.ProcessStartInfo
    $start.FileName = $Program
    $start.Arguments = $Arguments
    $start.UseShellExecute = $false
    $start.CreateNoWindow = $true
    $start.RedirectStandardOutput = $true
    $start.RedirectStandardError = $true
    # Otherwise the newest launchers download a Python that is not there, only because it was asked for.
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
    <# Programs that may be a Python, the likeliest first, each with the arguments that choose a version. #>
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
    <# The path of the Python that a candidate starts, and the reason where it will not do. #>
    param([string] $Program, [string] $Arguments)
    $code = "import sys, struct; v = sys.version_info; "
    $code += "print(v[0], v[1], struct.calcsize('P') * 8, sys.executable, sep='|')"
    $all = "$Arguments -I -c ""$code"""
    $asked = Invoke-Quiet -Program $Program -Arguments $all
    $parts = $asked.Output.Split('|')
    if (($asked.ExitCode -ne 0) -or ($parts.Count -ne 4)) {
        $reason = ''
        if ($Program -like '*\WindowsApps\python*.exe') {
            $reason = "$Program is only the Microsoft Store's alias: it opens the Store and runs nothing"
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
        $reason = "$path is from the Microsoft Store, which keeps what it writes in a place of its own"
    }
    elseif (@('3.10', '3.11', '3.12', '3.13') -notcontains $version) {
        $reason = "$path is Python $version, and 3.10 to 3.13 will do"
    }
    elseif ($parts[2] -ne '64') {
        $reason = "$path is a $($parts[2])-bit Python, and torch is made for 64 bits alone"
    }
    return New-Object PSObject -Property @{ Path = $path; Reason = $reason }
}

function Find-Python {
    <# The path of a Python that will do, or $null after saying of each that was found why it will not. #>
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
