@echo off
rem Starts install_windows.ps1 whatever the execution policy of this user or computer says; takes the same parameters.
setlocal
powershell.exe -NoProfile -ExecutionPolicy Bypass -File "%~dp0install_windows.ps1" %*
set code=%errorlevel%
if "%code%"=="0" goto end
echo.
echo If running scripts is disabled by a group policy, this does the same:
echo   py -3.12 "%~dp0scripts\setup_windows.py" install
:end
rem A window that a double-click opened would close before anybody has read it.
if "%~1"=="" pause
exit /b %code%
