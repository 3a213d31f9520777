"""`python3 -m bootstrap`: checks the machine and makes the environments. The Makefile runs it."""

import os
import shutil
import subprocess
import sys

OLDEST, NEWEST = 10, 14
"""Minor versions of Python 3 that the set-up runs on."""

# Before other imports: an old Python cannot parse the other modules.
if sys.version_info[:2] < (3, OLDEST):
    for minor in range(NEWEST, OLDEST - 1, -1):
        path = shutil.which(f"python3.{minor}")
        if path and subprocess.call([path, "-c", ""], stderr=subprocess.DEVNULL) == 0:
            os.execv(path, [path, "-E", "-s", "-m", "bootstrap", *sys.argv[1:]])
    sys.exit(
        f"✗ clipserve needs Python 3.{OLDEST} or newer; {sys.executable} is older, and PATH has no other.\n"
        f"Install one, or name it: `make demo PYTHON=/path/to/python3.12`."
    )

from bootstrap.cli import main  # noqa: E402

main()
