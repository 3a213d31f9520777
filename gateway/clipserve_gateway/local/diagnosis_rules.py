"""Rules for lines of Triton's log: a pattern, the cause and the remedy, one sentence each.

The first rule that matches counts. Most patterns are from lines that Triton 2.51 has logged in trials; the
others are messages of glibc, Python and torch.
"""

from __future__ import annotations

EXPORT = "Export the model again with `clipserve-export`, or remove it from the model repository."
SETUP = "Run `make setup`: it repairs the models' environment."
MEMORY = "Free some memory, or serve fewer or smaller models."
SHARED_MEMORY = "Enlarge /dev/shm: `mount -o remount,size=1G /dev/shm`, or in a container `--shm-size=1g`."
OPEN_FILES = "Raise the limit to 1024 or more: `ulimit -n 1024`."
OPEN_FILES_CAUSE = "The limit on open files (`ulimit -n`) is too low for Triton"
NO_ADDRESS_SPACE = "Triton has used up its address space"
"""Symptom of a Triton that waits forever for a thread that it cannot create."""
NO_PROGRESS = "Triton has made no progress"
"""Symptom of a Triton that loads models, and neither logs nor works."""
INSTALLED = (
    "torch|numpy|triton_python_backend_utils|clipserve_process|"
    "encodings|filelock|fsspec|jinja2|markupsafe|mpmath|networkx|setuptools|sympy|typing_extensions"
)
"""Modules that the models' environment must have: imports of the exported models, and imports of these.

Only a model's own code imports other modules.
"""

RULES: tuple[tuple[str, str, str], ...] = (
    # First: many other failures have this cause, and their lines do not say so.
    (
        r"Too many open files|File descriptor limit reached",
        f"{OPEN_FILES_CAUSE}.",
        OPEN_FILES,
    ),
    (
        NO_ADDRESS_SPACE,
        "The limit on address space (`ulimit -v`) is too low for Triton.",
        "Raise it: `ulimit -v unlimited`.",
    ),
    (
        r"version .GLIBC(?:XX)?_(?P<version>[\d.]+)' not found",
        "This system's C library is too old: Triton needs version {version}.",
        "Use a system with glibc 2.35 or newer: Debian 12, Ubuntu 22.04.",
    ),
    (
        r"(?P<library>libpython[\w.-]+): (?:cannot open shared object file|file too short|invalid ELF)",
        "The shared library {library}, which Triton's Python backend needs, is missing or damaged.",
        SETUP,
    ),
    (
        r"(?P<library>lib[\w.+-]+\.so[\w.]*): (?:cannot open shared object file|file too short|invalid ELF)",
        "The shared library {library} is missing or damaged.",
        f"{SETUP} Install a library of the system with the system's package manager.",
    ),
    (
        rf"No module named '(?P<module>(?:{INSTALLED})(?:\.[\w.]+)?)'",
        "The Python module {module} is missing from the models' environment.",
        SETUP,
    ),
    (
        r"No module named '(?P<module>[\w.]+)'",
        "A model imports the Python module {module}, which is missing from the models' environment.",
        EXPORT,
    ),
    (
        r"ImportError: (?P<detail>[^\n\\\"]+)",
        "A Python module of the models' environment cannot be imported: {detail}.",
        SETUP,
    ),
    (
        r"Unable to initialize shared memory.*Error: (?P<detail>[\w -]+)"
        r"|Failed to (?:pre)?initialize Python stub: [^\n]*shared memory",
        "Triton cannot get the shared memory (/dev/shm) that its Python models need: {detail}.",
        f"Free some of it. {SHARED_MEMORY}",
    ),
    (
        r"No space left on device",
        "A disk that Triton writes to is full.",
        "Free some space on the disks of the model repository and of temporary files.",
    ),
    (
        r"std::bad_alloc|Cannot allocate memory|MemoryError|DefaultCPUAllocator: [^\n]*allocate memory|"
        r"CUDA out of memory",
        "There is too little memory for the models.",
        MEMORY,
    ),
    (
        r"Resource temporarily unavailable|can't start new thread",
        "A limit on threads or processes is too low for Triton.",
        "Raise it: see `ulimit -u`, and in a container `--pids-limit`.",
    ),
    (
        r"[Pp]ermission denied(?:, file path)?:? '?(?P<path>/[^'\"\n\\]+)"
        r"|(?P<before>/[^'\":\n]+)'?: Permission denied",
        "This user has no permission to read {path}.",
        "Give this user the permission: `chmod -R u+rX`.",
    ),
    (
        r"PermissionError|Permission denied|Operation not permitted",
        "This user has no permission to use a file that Triton needs.",
        "Give this user permission to read the model repository and the models' environment.",
    ),
    (
        r"Error parsing text-format inference\.ModelConfig: (?P<detail>[^\n]+?)\.?\n"
        r"(?:.*\n)*?.*Poll failed for model directory '(?P<model>[^']+)'",
        "The file config.pbtxt of {model} cannot be read: {detail}.",
        EXPORT,
    ),
    (
        r"(?:Poll failed for model directory|failed to load model) '(?P<model>[^']+)': (?P<detail>[^\n]+)",
        "The configuration of {model} is bad: {detail}.",
        EXPORT,
    ),
    (
        r"Python model file not found in '(?P<path>[^']+)'",
        "The file {path} is missing.",
        EXPORT,
    ),
    (
        r"The provided filename (?P<path>\S+) does not exist",
        "The weights {path} are missing.",
        EXPORT,
    ),
    (
        r"failed to load '(?P<model>[^']+)' version \d+: [^\n]*(?:PytorchStreamReader|central directory|"
        r"corrupt|unexpected EOF|invalid magic|Legacy model format)",
        "The weights of {model} (model.pt) are damaged.",
        EXPORT,
    ),
)
