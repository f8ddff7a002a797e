"""Properties of Windows: output in code pages, the Visual C++ runtime, and the limit of committed memory.

Standard library only: the setup scripts import this module before anything is installed.
"""

import sys
from pathlib import PurePath

RUNTIME_URL = "https://aka.ms/vs/17/release/vc_redist.x64.exe"
RUNTIME_PACKAGE = "Microsoft.VCRedist.2015+.x64"
"""winget's name of the Visual C++ runtime."""
MEMORY_STATUS_BYTES, COMMIT_LIMIT_AT = 64, 24
"""Size of MEMORYSTATUSEX, and the place of ullTotalPageFile in it."""
FORBIDDEN = '<>:"|?*'
"""Characters that no file name may contain."""
LONGEST_PART, LONGEST_FOLDER, LONGEST_LONG = 255, 247, 1000
"""Characters of a name, and of a folder's whole path without and with long paths. Windows allows 32,767 with them, but
`Path.mkdir` recurses once per parent."""


def escape_output() -> None:
    """Escape characters that stdout and stderr cannot encode; pipes of Windows have a limited character set.

    A path that cannot be printed must not make a finished video or installation fail.
    """
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # replaced streams have none
        if reconfigure is not None:
            reconfigure(errors="backslashreplace")


def runtime_version() -> tuple[int, int] | None:
    """Return the version of the Visual C++ runtime that this process loads, as in (14, 42), or None if it is missing.

    Python comes with vcruntime140.dll, but not with msvcp140.dll, which torch needs.
    """
    if sys.platform != "win32":
        return None
    import ctypes

    try:
        library = ctypes.WinDLL("msvcp140.dll")
    except OSError:
        return None
    name = ctypes.create_unicode_buffer(32768)
    ctypes.windll.kernel32.GetModuleFileNameW(ctypes.c_void_p(library._handle), name, len(name))
    version = ctypes.windll.version
    data = ctypes.create_string_buffer(max(1, version.GetFileVersionInfoSizeW(name, None)))
    place, size = ctypes.c_void_p(), ctypes.c_uint()
    found = version.GetFileVersionInfoW(name, 0, len(data), data) and version.VerQueryValueW(
        data, "\\", ctypes.byref(place), ctypes.byref(size)
    )
    if not found or not place.value:
        return None
    major_minor = ctypes.c_uint32.from_address(place.value + 8).value  # dwFileVersionMS of VS_FIXEDFILEINFO
    return major_minor >> 16, major_minor & 0xFFFF


def commit_limit() -> int | None:
    """Return the bytes that all programs together may allocate: memory and paging file. None on other systems."""
    if sys.platform != "win32":
        return None
    import ctypes

    status = ctypes.create_string_buffer(MEMORY_STATUS_BYTES)
    ctypes.c_uint32.from_buffer(status).value = MEMORY_STATUS_BYTES
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(status):
        return None
    return ctypes.c_uint64.from_buffer(status, COMMIT_LIMIT_AT).value


def paging_file_grows() -> bool:
    """Return True if Windows enlarges its paging file when needed, which is the default."""
    if sys.platform != "win32":
        return False
    import winreg

    place = r"SYSTEM\CurrentControlSet\Control\Session Manager\Memory Management"
    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, place) as key:
            files = winreg.QueryValueEx(key, "PagingFiles")[0]
    except OSError:
        return False
    return is_automatic(files)


def is_automatic(files: list[str]) -> bool:
    """Return True for paging files whose size Windows manages: "?:\\pagefile.sys", or one with the sizes 0 and 0."""
    return any(file.startswith("?") or file.endswith(" 0 0") for file in files)


def folder_fault(folder: PurePath, existing: PurePath) -> str:
    """Return why Windows cannot create `folder`, whose parent `existing` is there, else ""."""
    parts = folder.relative_to(existing).parts
    for part in parts:
        if any(one in FORBIDDEN or one < " " for one in part):
            return f"a name cannot contain {FORBIDDEN}"
    longest = LONGEST_LONG if allows_long_paths() else LONGEST_FOLDER
    too_long = any(len(part) > LONGEST_PART for part in parts) or (parts and len(str(folder)) > longest)
    return "the path is too long" if too_long else ""


def allows_long_paths() -> bool:
    """Return True if paths of more than 260 characters are allowed."""
    if sys.platform != "win32":
        return True
    import winreg

    try:
        with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, r"SYSTEM\CurrentControlSet\Control\FileSystem") as key:
            return winreg.QueryValueEx(key, "LongPathsEnabled")[0] == 1
    except OSError:
        return False
