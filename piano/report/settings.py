"""With what a run was made, as parts of the report: settings, the ones unlike the defaults first; code; machine."""

import os
import platform
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import torch

from piano.config_reader import CONFIG_NAME
from piano.foundation.screen_text import counted
from piano.report.markup import Section, absent_section, macro, render
from piano.run_settings import PACKAGE, changes, read_settings

NOT_SETTINGS = ("presets", "checkpoint_folder_load")


def settings_section(run: Path) -> Section:
    """What differs from the defaults of the preset, then every setting."""
    if not (run / CONFIG_NAME).is_file():
        return absent_section("settings", "Settings", f"There is no {CONFIG_NAME} in this folder.")
    own = {
        name: without_place(value)
        for name, value in read_settings(run).items()
        if name.split(".")[0] not in NOT_SETTINGS
    }
    if not own:
        return absent_section("settings", "Settings", f"{CONFIG_NAME} in this folder cannot be read.")
    preset = str(own.get("preset", ""))
    everything = [(name, shown(value)) for name, value in own.items()]
    found = changes(own)
    if found is None or not found.is_own:
        said = f"Preset {preset!r} is not among this program's, so nothing can be compared with it."
        content = render("settings.html", unknown=said, changed=[], own=everything)
        return Section("settings", "Settings", "", content)
    changed = [(name, shown(here), shown(usual)) for name, (here, usual) in found.values.items()]
    content = render("settings.html", unknown="", changed=changed, own=everything)
    if not changed:
        return Section("settings", "Settings", f"Everything is as preset {preset} has it.", content, f"preset {preset}")
    words = f"Preset {preset}, with these changes. Of paths only the last name is told."
    return Section("settings", "Settings", words, content, f"preset {preset}, {counted(len(changed), 'change')}")


def without_place(value: Any) -> Any:
    """A setting's value; of a path that leads from the root the last name only, since the page may be sent."""
    if not isinstance(value, str):
        return value
    return next((kind(value).name for kind in (PurePosixPath, PureWindowsPath) if kind(value).is_absolute()), value)


def shown(value: Any) -> str:
    """A setting's value as YAML writes it."""
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def machine_section() -> Section:
    """Code and computer."""
    words = "Of the computer that wrote this page; a run that was trained elsewhere had another."
    return Section("machine", "Code and machine", words, macro("parts.html", "facts", machine_facts()))


def machine_facts() -> list[tuple[str, str]]:
    """Names and values, as far as they can be found out."""
    facts = [("Code", code_version()), ("Processor", f"{processor_name()}, {os.cpu_count()} logical cores")]
    if memory := memory_gigabytes():
        facts.append(("Memory", f"{memory:.0f} GB"))
    if torch.cuda.is_available():
        facts.append(("Graphics card", torch.cuda.get_device_name()))
    else:
        facts.append(("Graphics card", "none that PyTorch can use"))
    facts.append(("Software", f"PyTorch {torch.__version__}, Python {platform.python_version()}, {platform.system()}"))
    return facts


def code_version() -> str:
    """The installed version, and the commit where the code lies in a git repository that git can read."""
    try:
        name = f"musigan {version('musigan')}"
    except PackageNotFoundError:
        name = "musigan, run from its folder"
    commit = git("rev-parse", "--short=10", "HEAD")
    if not commit or git("rev-parse", "--show-toplevel") != str(PACKAGE.parent):
        return f"{name}; no commit is known"
    changed = ", with changes that are not committed" if git("status", "--porcelain", "--untracked-files=no") else ""
    return f"{name}, commit {commit}{changed}"


def git(*arguments: str) -> str:
    """What git answers about the project's folder; empty where there is no git or no repository."""
    program = shutil.which("git")
    if program is None:
        return ""
    try:
        answer = subprocess.run(
            [program, "-C", str(PACKAGE.parent), *arguments], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return answer.stdout.strip() if answer.returncode == 0 else ""


def processor_name() -> str:
    """The processor's own name where the system tells it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def memory_gigabytes() -> float:
    """Memory of the machine; 0 where the system does not say."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
    except (AttributeError, OSError, ValueError):
        return 0.0
