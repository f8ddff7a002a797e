@echo off
rem Runs a script of the folder IMG2VID_FOLDER for install_windows.cmd and uninstall_windows.cmd.
rem Windows marks the files of a downloaded archive, and some policies refuse marked scripts: the marks are removed first.
rem PowerShell exits with 9 if a policy forbids scripts, whatever this command line says.
set "top=$top = Get-ChildItem -LiteralPath $env:IMG2VID_FOLDER | Where-Object { '.venv', 'outputs', 'checkpoints' -notcontains $_.Name }"
set "inner=$inner = $top | Where-Object { $_.PSIsContainer } | ForEach-Object { Get-ChildItem -LiteralPath $_.FullName -Recurse }"
set "has=Get-Item -LiteralPath $_.FullName -Stream Zone.Identifier -ErrorAction SilentlyContinue"
set "marked=$marked = @(@($top) + @($inner) | Where-Object { $_ -and -not $_.PSIsContainer } | Where-Object { %has% })"
set "unblock=foreach ($file in $marked) { Unblock-File -LiteralPath $file.FullName }"
set "report=if ($marked) { Write-Host ('Unblocked {0} downloaded files of img2vid.' -f $marked.Count) }"
set "test=try { . ($env:IMG2VID_FOLDER + 'scripts\windows\find_python.ps1') } catch [Management.Automation.PSSecurityException] { exit 9 }"
powershell.exe -NoProfile -ExecutionPolicy Bypass -Command "%top%; %inner%; %marked%; %unblock%; %report%; %test%; exit 0"
if "%errorlevel%"=="9" goto policy
powershell.exe -NoProfile -ExecutionPolicy Bypass -File "%IMG2VID_FOLDER%%IMG2VID_COMMAND%_windows.ps1" %*
set code=%errorlevel%
goto end
:policy
echo A group policy of this computer forbids PowerShell scripts. This does the same:
echo   py -3.12 "%IMG2VID_FOLDER%scripts\setup_windows.py" %IMG2VID_COMMAND%
set code=1
:end
rem A window that a double-click opened would close before anybody has read it.
if "%~1"=="" pause
exit /b %code%
