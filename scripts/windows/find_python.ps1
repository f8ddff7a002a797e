<#
.SYNOPSIS
    Functions that find a Python for img2vid, used by install_windows.ps1 and uninstall_windows.ps1.
#>

function Write-Note {
    <# Prints a message and appends it to the log, if any. #>
    param([string] $Text, [string] $Log)
    Write-Host $Text
    if ($Log) {
        try {
            Add-Content -LiteralPath $Log -Value $Text -Encoding UTF8
        }
        catch {
            Write-Host "The log $Log cannot be written."
        }
    }
}

function Remove-EndingBackslash {
    <# A path without a trailing backslash, which would escape the closing quote. setup_windows.py checks the path. #>
    param([string] $Path)
    if ($Path.Length -gt 3) {
        return $Path.TrimEnd('\')
    }
    return $Path
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
    # Windows PowerShell would read it in the code page of the console, and Python write it in that of Windows.
    $start.StandardOutputEncoding = [System.Text.Encoding]::UTF8
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

function Get-SupportedPython {
    <# The supported versions, such as '3.12', in the order of preference. img2vid/__init__.py names the range. #>
    $path = Join-Path (Split-Path -Parent (Split-Path -Parent $PSScriptRoot)) 'img2vid\__init__.py'
    $text = (Get-Content -LiteralPath $path) -join ' '
    $null = $text -match 'OLDEST, NEWEST = \(3, (\d+)\), \(3, (\d+)\)'
    $all = @([int] $Matches[1]..[int] $Matches[2] | ForEach-Object { "3.$_" })
    # The default build of torch has no wheels for the newest.
    return @('3.12', '3.11', '3.10', '3.13') + $all | Where-Object { $all -contains $_ } | Select-Object -Unique
}

function Get-SupportedRange {
    <# The supported versions as text, lowest first. #>
    $all = @(Get-SupportedPython | Sort-Object { [version] $_ })
    return $all[0] + ' to ' + $all[-1]
}

function Get-PythonCandidate {
    <# Candidate Python programs, most likely first, with the arguments that select a version. #>
    $folders = @((Join-Path $env:LOCALAPPDATA 'Programs\Python'), $env:ProgramFiles)
    $managed = Join-Path $env:LOCALAPPDATA 'Python'
    $launchers = @('py.exe', (Join-Path $env:LOCALAPPDATA 'Programs\Python\Launcher\py.exe'))
    foreach ($version in @(Get-SupportedPython)) {
        foreach ($launcher in $launchers) {
            New-Object PSObject -Property @{ Program = $launcher; Arguments = "-$version" }
        }
        foreach ($folder in $folders) {
            $program = Join-Path $folder ('Python' + $version.Replace('.', '') + '\python.exe')
            New-Object PSObject -Property @{ Program = $program; Arguments = '' }
        }
        $program = Join-Path $managed "pythoncore-$version-64\python.exe"
        New-Object PSObject -Property @{ Program = $program; Arguments = '' }
    }
    foreach ($found in @(Get-Command -Name 'python.exe' -CommandType Application -All -ErrorAction SilentlyContinue)) {
        New-Object PSObject -Property @{ Program = $found.Path; Arguments = '' }
    }
}

function Test-Python {
    <# The path of a candidate's Python, and the reason if it is not suitable. #>
    param([string] $Program, [string] $Arguments)
    $code = "import sys, struct; v = sys.version_info; "
    $code += "print(v[0], v[1], struct.calcsize('P') * 8, sys.base_prefix, sys.executable, sep='|')"
    $all = "$Arguments -I -X utf8 -c ""$code"""
    $asked = Invoke-Quiet -Program $Program -Arguments $all
    $parts = $asked.Output.Split('|')
    if (($asked.ExitCode -ne 0) -or ($parts.Count -ne 5)) {
        $reason = ''
        if ($Program -like '*\WindowsApps\python*.exe') {
            $reason = "$Program is an alias that starts no Python"
        }
        elseif (Test-Path -LiteralPath $Program) {
            $reason = "$Program does not run (exit code $($asked.ExitCode))"
        }
        return New-Object PSObject -Property @{ Path = ''; Reason = $reason }
    }
    $path = $parts[4]
    $version = $parts[0] + '.' + $parts[1]
    $reason = ''
    if (($parts[3] + '\') -like '*\WindowsApps\*') {
        $reason = "$path is a Microsoft Store Python, which redirects the files it writes to another location"
    }
    elseif (@(Get-SupportedPython) -notcontains $version) {
        $reason = "$path is Python $version, but img2vid needs $(Get-SupportedRange)"
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
