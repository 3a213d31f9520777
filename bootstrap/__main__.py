"""`python3 -m bootstrap`: checks the machine and makes the environments; the Makefile calls it."""

import sys

OLDEST = (3, 10)

if sys.version_info[:2] < OLDEST:  # Before the other modules, whose syntax an old Python cannot read.
    sys.exit(
        f"clipserve needs Python 3.10 or newer; {sys.executable} is {sys.version_info[0]}.{sys.version_info[1]}.\n"
        "Name another one, for example `make demo PYTHON=python3.12`."
    )

from bootstrap.cli import main  # noqa: E402

main()
