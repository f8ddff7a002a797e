@echo off
rem Starts install_windows.ps1 whatever the execution policy of this user or computer says; takes the same parameters.
setlocal
set "IMG2VID_FOLDER=%~dp0"
set "IMG2VID_COMMAND=install"
"%~dp0scripts\windows\start.cmd" %*
