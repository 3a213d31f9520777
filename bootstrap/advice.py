"""The command that installs a missing part, for each family of distributions."""

from __future__ import annotations

PACKAGES = {
    "debian": ("apt-get install", {"python": "python3 python3-venv", "venv": "python{minor}-venv",
                                   "libpython": "libpython{minor}", "bash": "bash"}),
    "fedora": ("dnf install", {"python": "python3.12", "venv": "python3", "libpython": "python{minor}-libs",
                               "bash": "bash"}),
    "suse": ("zypper install", {"python": "python312", "venv": "python{joined}",
                                "libpython": "libpython{underscored}-1_0", "bash": "bash"}),
    "arch": ("pacman -S", {"python": "python", "venv": "python", "libpython": "python", "bash": "bash"}),
}  # fmt: skip
"""The install command of each family, and the package of each part."""


def install_line(family: str, part: str, minor: str = "3") -> str:
    """The command that installs a part; a sentence if the distribution is unknown.

    Args:
        part: `python`, `venv`, `libpython` or `bash`.
        minor: the Python version concerned, for example `3.11`.
    """
    if family not in PACKAGES:
        return f"install {part if part != 'venv' else 'the venv module'} for Python {minor}"
    command, packages = PACKAGES[family]
    names = {"minor": minor, "joined": minor.replace(".", ""), "underscored": minor.replace(".", "_")}
    return f"sudo {command} {packages[part].format(**names)}"
