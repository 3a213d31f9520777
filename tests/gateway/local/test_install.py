"""The parts of a Triton are found in a models' environment, without importing what is there."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from clipserve_gateway.local import install as subject
from clipserve_gateway.local.install import TritonMissing, find_install, wanted_libpython
from clipserve_gateway.local.run_folder import lay_out

VERSION = f"{sys.version_info[0]}.{sys.version_info[1]}"
STUB_BYTES = b"\x7fELF\0libpython3.13.so.1.0\0libc.so.6\0libpython3-419a3a08.13.so.1.0\0"


def environment(folder: Path, *, version: str = VERSION) -> Path:
    """A virtual environment with a wheel of Triton, as far as its files' names go."""
    packages = folder / "lib" / "site-packages"
    server = packages / "pytriton" / "tritonserver"
    stub = server / "python_backend_stubs" / version / subject.STUB
    for path in (server / "bin" / "tritonserver", server / "backends" / "python" / "utils.py", stub):
        path.parent.mkdir(parents=True)
        path.write_bytes(STUB_BYTES)
    (packages / "nvidia_pytriton.libs").mkdir()
    # What importing it would do where its requirements are not installed.
    (packages / "pytriton" / "__init__.py").write_text("raise ImportError('gevent')")
    (folder / "lib" / f"libpython{version}.so.1.0").write_text("of the environment")
    write_python(folder, f"sys.path.insert(0, {str(packages)!r})")
    return folder


def write_python(folder: Path, first: str) -> None:
    """A python3 that runs something before all else."""
    (folder / "bin").mkdir(exist_ok=True)
    python = folder / "bin" / "python3"
    python.write_text(f"#!{sys.executable}\nimport sys\n{first}\nexec(sys.argv[3])\n")
    python.chmod(0o755)


def test_triton_is_found_without_importing_its_package(tmp_path: Path) -> None:
    found = find_install(environment(tmp_path))
    assert found.binary == tmp_path / "lib/site-packages/pytriton/tritonserver/bin/tritonserver"
    assert found.models_env == tmp_path


def test_the_environments_own_libpython_comes_first(tmp_path: Path) -> None:
    assert find_install(environment(tmp_path)).libpython == tmp_path / f"lib/libpython{VERSION}.so.1.0"


def test_a_missing_part_says_how_to_mend_the_environment(tmp_path: Path) -> None:
    found = find_install(environment(tmp_path))
    found.stub.unlink()
    with pytest.raises(TritonMissing, match=r"make setup.*--no-deps nvidia-pytriton==0\.7\.0"):
        find_install(tmp_path)


def test_an_environment_without_triton_says_how_to_mend_it(tmp_path: Path) -> None:
    write_python(tmp_path, "pass")
    with pytest.raises(TritonMissing, match=r"has no Triton; run `make setup`"):
        find_install(tmp_path)


@pytest.mark.parametrize("version", ["3.9", "3.14"])
def test_another_python_is_refused_with_those_that_are_supported(tmp_path: Path, version: str) -> None:
    major, minor = version.split(".")
    write_python(tmp_path, f"sys.version_info = ({major}, {minor}, 0)")
    with pytest.raises(TritonMissing, match=rf"Python {version}; .* 3\.10 to 3\.13"):
        find_install(tmp_path)


def test_another_machine_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject.platform, "machine", lambda: "aarch64")
    with pytest.raises(TritonMissing, match="Linux x86-64"):
        find_install(tmp_path)


def test_a_python_that_does_not_run_is_told(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python3").write_text("#!/nowhere\n")
    (tmp_path / "bin" / "python3").chmod(0o755)
    with pytest.raises(TritonMissing, match="does not run"):
        find_install(tmp_path)


def test_a_stub_names_the_libpython_that_it_wants(tmp_path: Path) -> None:
    (tmp_path / "stub").write_bytes(STUB_BYTES)
    assert wanted_libpython(tmp_path / "stub") == ["libpython3-419a3a08.13.so.1.0", "libpython3.13.so.1.0"]
    (tmp_path / "stub").write_bytes(b"nothing")
    with pytest.raises(TritonMissing, match="names no libpython"):
        wanted_libpython(tmp_path / "stub")


def test_triton_runs_from_plain_paths_wherever_its_parts_are(tmp_path: Path) -> None:
    odd = tmp_path / 'Ünser "Haus" $HOME\'s'
    odd.mkdir()
    (odd / "models").mkdir()
    run = tmp_path / "run"
    run.mkdir()
    found = lay_out(find_install(environment(odd / "env")), odd / "models", run)
    plain = found.install
    for path in (found.models, found.backends, plain.models_env, *plain.library_path):
        assert path.is_relative_to(run)
        assert path.is_dir()
    stub = found.backends / "python" / subject.STUB
    assert not stub.is_symlink(), "from the wheel it would take the wheel's libpython"
    first = Path(os.path.normpath(stub.parent / "../../../../nvidia_pytriton.libs"))
    assert first == plain.library_path[0], "where the stub looks first"
    for name in wanted_libpython(stub):
        assert (first / name).read_text() == "of the environment"
