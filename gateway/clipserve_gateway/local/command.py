"""The command line and the environment of tritonserver."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from clipserve_gateway.local.install import TritonInstall

LARGE_PAGES = "glibc.malloc.hugetlb=1"
"""Tunable of glibc. Large pages for weights and activations give 10–20 % more images a second on a CPU."""
UTF8 = re.compile(r"utf-?8", re.IGNORECASE)
NOT_INHERITED = re.compile(r"PYTHON\w+|BASH_ENV")
"""Variables that would change Triton's Python stubs or the shell that starts them."""


class TritonPorts(NamedTuple):
    """Ports on 127.0.0.1."""

    grpc: int
    http: int
    metrics: int


def arguments(repository: Path, backends: Path, ports: TritonPorts) -> list[str]:
    """Triton's command line. A bad model does not stop it, and models can be added while it runs."""
    return [
        f"--model-repository={repository.absolute()}",
        f"--backend-directory={backends}",
        "--model-control-mode=poll",
        "--repository-poll-secs=5",
        # Python models that several threads load at the same time sometimes crash: 4 of 15 starts of four
        # towers on a busy machine, none of 20 with one thread.
        "--model-load-thread-count=1",
        "--exit-on-error=false",
        "--strict-readiness=false",
        "--disable-auto-complete-config",
        "--grpc-address=127.0.0.1",
        f"--grpc-port={ports.grpc}",
        "--http-address=127.0.0.1",
        f"--http-port={ports.http}",
        "--metrics-address=127.0.0.1",
        f"--metrics-port={ports.metrics}",
        "--allow-gpu-metrics=false",
        # The gateway pings every 10 s; by default Triton treats that as an attack.
        "--grpc-http2-min-recv-ping-interval-without-data=5000",
        "--exit-timeout-secs=10",
    ]


def environment(install: TritonInstall, host: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of the server and of its Python stubs.

    A stub uses the packages of the first `python3` on PATH. `host` is this process's environment by default.
    """
    if host is None:
        # Here, so that the tests of the exporter can use this module without pydantic.
        from clipserve_gateway.settings import host_environment

        host = host_environment()
    inherited = {name: value for name, value in host.items() if not NOT_INHERITED.fullmatch(name)}
    libraries = [str(path) for path in install.library_path]
    libraries += [inherited["LD_LIBRARY_PATH"]] if inherited.get("LD_LIBRARY_PATH") else []
    return (
        inherited
        | locale_of(inherited)
        | {
            "LD_LIBRARY_PATH": ":".join(libraries),
            "PATH": f"{install.models_env / 'bin'}:{inherited.get('PATH', os.defpath)}",
            "VIRTUAL_ENV": str(install.models_env),
            "PYTHONUTF8": "1",
            # OpenMP threads that spin while they wait make shared cores 2–4 times slower.
            "OMP_WAIT_POLICY": "PASSIVE",
            "GLIBC_TUNABLES": inherited.get("GLIBC_TUNABLES", LARGE_PAGES),
        }
    )


def locale_of(inherited: Mapping[str, str]) -> dict[str, str]:
    """Variables that make the locale UTF-8; none if it is UTF-8 already."""
    # In the order in which the C library reads them; empty variables count as unset.
    names = ("LC_ALL", "LC_CTYPE", "LANG")
    chosen = next((inherited[name] for name in names if inherited.get(name)), "")
    return {} if UTF8.search(chosen) else {"LC_ALL": "C.UTF-8"}
