"""An SBOM of the production packages (CycloneDX JSON), and a check for known vulnerabilities.

    python -m bootstrap.audit sbom    writes build/sbom/gateway.json and build/sbom/models.json
    python -m bootstrap.audit check   asks an advisory service; exit code 2 if packages were not checked

Both read the lock files and constraints, so they cover every supported Python and processor. Run them in an
environment with constraints/audit.txt.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from bootstrap.lock import blocks

PARTS = {"gateway": ("image",), "models": ("models", "triton")}
"""Lock files of each image."""
UNHASHED = re.compile(r"(?:torch|torchvision)==\S+")
UNREACHABLE = re.compile(
    r"ConnectionError|ConnectTimeout|NameResolutionError|Max retries|ServiceError|ProxyError"
)

SKIPPED = "could not be audited"


def requirements(root: Path, part: str) -> str:
    """The packages of an image, torch too, as a requirements file without hashes."""
    packages: dict[str, None] = {}
    for name in PARTS[part]:
        for block in blocks((root / "constraints" / "locks" / f"{name}.txt").read_text()):
            packages[block.split("\\\n")[0].strip()] = None
    if part == "models":
        lines = (root / "constraints" / "models.txt").read_text().splitlines()
        packages.update(dict.fromkeys(line for line in lines if UNHASHED.fullmatch(line)))
    return "\n".join(packages) + "\n"


def written(root: Path, part: str) -> Path:
    """Writes the requirements to a file; its path."""
    path = root / "build" / "sbom" / f"{part}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(requirements(root, part))
    return path


def write_sbom(root: Path, part: str) -> int:
    source = written(root, part)
    target = source.with_suffix(".json")
    command = [sys.executable, "-m", "cyclonedx_py", "requirements", str(source), "--of", "JSON"]
    command += ["--pyproject", str(root / "pyproject.toml"), "--output-reproducible", "-o", str(target)]
    code = subprocess.run(command, check=False).returncode
    if code == 0:
        print(target.relative_to(root))
    return code


def check(root: Path, part: str) -> int:
    """Checks for known vulnerabilities; 0 if there are none, 1 if there are some, 2 if not checked."""
    command = [sys.executable, "-m", "pip_audit", "--progress-spinner", "off", "--disable-pip", "--no-deps"]
    done = subprocess.run(
        [*command, "-r", str(written(root, part))], capture_output=True, text=True, check=False
    )
    if done.returncode and UNREACHABLE.search(done.stderr):
        print(f"{part}: the advisory service cannot be reached; nothing was checked", file=sys.stderr)
        return 2
    skipped = (done.stdout + done.stderr).count(SKIPPED)
    print(f"{part}: {(done.stdout + done.stderr).strip()}")
    if skipped:
        sys.stdout.flush()
        print(
            f"{part}: the advisory service does not know {skipped} packages; they were not checked",
            file=sys.stderr,
        )
    return min(done.returncode, 1) or 2 * bool(skipped)


def main(command: str) -> int:
    """Runs the command for each image; the highest exit code."""
    root = Path(__file__).parents[1]
    work = {"sbom": write_sbom, "check": check}[command]
    return max(work(root, part) for part in PARTS)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
