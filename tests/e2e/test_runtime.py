"""`clipserve-gateway up` and `serve`: they start, tell what is wrong, and end cleanly."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import clipserve
import pytest

from demo.run import wait_until_ready
from faults.delay_model import DelayModel, Knobs
from testing.repository import version_folder
from testing.service import BIN, FREE_PORTS, ROOT, Service, start, stub_of

REPOSITORY = ROOT / "build" / "model_repository"


def run_up(*options: str) -> subprocess.CompletedProcess[str]:
    """A start that must fail."""
    command = [BIN / "clipserve-gateway", "up", *FREE_PORTS, *options]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def begin_up(folder: Path, *options: str) -> Service:
    """A start that is still under way: Triton loads its models."""
    log = folder / "up.log"
    command = [BIN / "clipserve-gateway", "up", *FREE_PORTS, "--data", folder / "data", *options]
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=ROOT, stdout=file, stderr=file)
    service = Service(process, log)
    assert service.says("loads its models", 30)
    return service


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition, seconds: float = 60.0) -> bool:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def test_a_missing_environment_is_told_in_one_line(tmp_path):
    done = run_up(
        "--models-env", str(tmp_path), "--model-repository", str(REPOSITORY), "--data", str(tmp_path)
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "make setup" in done.stderr


def test_an_environment_without_triton_says_what_to_install(tmp_path):
    done = run_up("--models-env", str(BIN.parent), "--data", str(tmp_path))
    assert done.returncode == 1
    assert "has no Triton; run `make setup`" in done.stderr


def test_an_empty_repository_is_told(tmp_path):
    done = run_up("--model-repository", str(tmp_path), "--data", str(tmp_path / "data"))
    assert done.returncode == 1
    assert "clipserve-export" in done.stderr


@pytest.mark.parametrize("option", ["--port", "--http-port", "--api-port", "--triton-port"])
def test_a_taken_port_is_named_and_nothing_is_left_running(tmp_path, option):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = run_up("--data", str(tmp_path), "--model-repository", str(REPOSITORY), option, port)
    assert done.returncode == 1
    assert f"port {port} is taken by pid {os.getpid()} (" in done.stderr
    assert f"choose another port with {option}" in done.stderr


def test_a_bad_setting_is_named():
    done = run_up("--max-items-per-call", "0")
    assert done.returncode == 2
    assert "max_items_per_call" in done.stderr


def embeds(client: clipserve.Client) -> bool:
    try:
        return client.embed_texts(["a dog"]).embeddings.shape[0] == 1
    except clipserve.Unavailable:
        return False


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts services, and ends those that a failed test leaves."""
    services: list[Service] = []

    def run(*options: str, **places: Path) -> Service:
        services.append(start(tmp_path, *options, **places))
        return services[-1]

    yield run
    for service in services:
        service.stop()


PREFIXES: dict[int, str] = {}
"""Of the shared memory of the services that were asked for it, by their process ids."""


def region_prefix(service: Service) -> str:
    """What the names of the regions of a service's Triton begin with; known since it was asked for first."""
    if service.process.pid not in PREFIXES:
        words = Path(f"/proc/{service.triton_pid}/cmdline").read_text().split("\0")
        [prefix] = [word.partition("name=")[2] for word in words if "shm-region-prefix-name=" in word]
        PREFIXES[service.process.pid] = prefix
    return PREFIXES[service.process.pid]


def shared_memory(service: Service) -> set[str]:
    """Regions that Tritons of a service have, or left behind."""
    return {path.name for path in Path("/dev/shm").glob(f"{region_prefix(service)}*")}


def test_a_triton_that_dies_is_started_again_and_serves_the_same_gateway(begin):
    service = begin()
    first, regions = service.triton_pid, shared_memory(service)
    impatient = clipserve.Client(service.address, retry=None)
    assert embeds(impatient)
    assert regions
    os.kill(first, signal.SIGKILL)
    assert service.says(rf"✗ Triton \(pid {first}\) ended with code -9; its last words:\n[^✗·]")
    assert service.says("· Triton is started again in 0.5 s")
    assert not embeds(impatient)
    assert service.says(r"✓ Triton \(pid \d+\) is back after [\d.]+ s")
    assert wait_for(lambda: embeds(impatient), 20)
    [_, second] = service.triton_pids
    assert alive(second)
    assert not alive(first)
    assert not shared_memory(service) & regions, "what the first one could not remove"
    assert service.stop() == 0
    assert not alive(second)
    assert not shared_memory(service)


@pytest.mark.slow
def test_a_triton_that_hangs_or_has_lost_a_tower_is_killed_and_started_again(begin):
    service = begin("--canary-seconds", "0.5", "--restart-after-seconds", "3")
    patient = clipserve.Client(service.address)
    faults = (
        (lambda pid: os.kill(pid, signal.SIGSTOP), "does not answer"),
        (lambda pid: os.kill(stub_of(pid, "demo_image"), signal.SIGKILL), "answers wrong"),
    )
    for fault, symptom in faults:
        pid = service.triton_pid
        fault(pid)
        assert service.says(rf"✗ Triton \(pid {pid}\): model demo {symptom}: .*; it was right before")
        assert service.says(rf"✗ Triton \(pid {pid}\) is killed: model demo {symptom}, for \d+ s")
        assert service.says(rf"✓ Triton \(pid (?!{pid}\b)\d+\) is back after")
        assert not alive(pid)
        assert wait_for(lambda: embeds(patient), 20)
    assert len(service.triton_pids) == 3
    assert service.stop() == 0


@pytest.mark.slow
def test_of_several_tritons_one_may_die_and_come_back_while_the_others_serve(begin):
    service = begin("--replicas", "2")
    assert len(service.triton_pids) == 2
    client = clipserve.Client(service.address)
    dead, other = service.triton_pids
    os.kill(dead, signal.SIGKILL)
    while f"✗ Triton (pid {dead}) ended" not in service.words or "is back after" not in service.words:
        assert client.embed_texts(["a dog"]).embeddings.shape[0] == 1
        time.sleep(0.1)
    os.kill(other, signal.SIGKILL)
    assert service.says(rf"✗ Triton \(pid {other}\) ended")
    assert wait_for(lambda: embeds(client), 20)
    assert service.stop() == 0
    assert not any(alive(pid) for pid in service.triton_pids)


@pytest.mark.slow
def test_sigterm_in_the_pause_before_a_restart_stops_at_once(tmp_path, begin):
    repository = tmp_path / "models"
    shutil.copytree(REPOSITORY, repository)
    service = begin(repository=repository)
    repository.rename(tmp_path / "elsewhere")
    os.kill(service.triton_pid, signal.SIGKILL)
    assert service.says("has no models.*\n· Triton is started again in 8 s")
    begin = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - begin < 4


def damage_weights(repository: Path) -> None:
    (version_folder(repository, "demo_image") / "model.pt").write_bytes(b"these are not weights")


def damage_config(repository: Path) -> None:
    (repository / "demo_image" / "config.pbtxt").write_text('name: "demo_image" backend "python" {')


def remove_code(repository: Path) -> None:
    (version_folder(repository, "demo_image") / "model.py").unlink()


def remove_tower(repository: Path) -> None:
    shutil.rmtree(repository / "demo_text")


def edit_parameters(repository: Path) -> None:
    config = repository / "demo_image" / "config.pbtxt"
    old = 'key: "embed_dim" value { string_value: "256" }'
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, old.replace("256", "banana")))


def edit_code(old: str, new: str) -> Callable[[Path], None]:
    def edit(repository: Path) -> None:
        code = version_folder(repository, "demo_image") / "model.py"
        assert old in code.read_text()
        code.write_text(code.read_text().replace(old, new, 1))

    return edit


def change_canary(repository: Path) -> None:
    """Its text is another one than that whose embedding was recorded."""
    config = repository / "demo_image" / "config.pbtxt"
    config.write_text(config.read_text().replace("a photo of a canary", "a photo of a truck", 1))


LOADS = '        """Loads the model on the device that this instance was given."""\n'
LIMIT = """\
        import resource
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (20 << 20),) * 2)
"""
FAULTS = {
    "weights": (damage_weights, r"The weights of demo_image \(model\.pt\) are damaged\."),
    "config": (damage_config, r"The file config\.pbtxt of demo_image cannot be read: .*\."),
    "code": (remove_code, r"The file \S+/models/demo_image/\d+/model\.py is missing\."),
    "module": (
        edit_code("\nimport torch\n", "\nimport torch_is_gone\n"),
        r"A model imports the Python module torch_is_gone, which is missing from the models' environment\.",
    ),
    "stub-killed": (
        edit_code(LOADS, LOADS + "        os.kill(os.getpid(), 9)\n"),
        r"The process of .* \(SIGKILL\), most likely because memory ran out\.|Memory ran out: .*\."
        r"|The process of demo_image ended while the model was loaded.*\.",
    ),
    "memory": (
        edit_code(LOADS, LOADS + LIMIT),
        r"There is too little memory for the models\.",
    ),
    "tower": (remove_tower, r"Model demo cannot be served: the repository has no demo_text\."),
    "parameter": (
        edit_parameters,
        r"Model demo cannot be served: demo: the towers disagree on embed_dim\.",
    ),
    "wrong": (change_canary, r"Model demo answers wrong: demo_text: cosine .*\."),
}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A copy of the demo's repository, to break."""
    shutil.copytree(REPOSITORY, tmp_path / "models")
    return tmp_path / "models"


def test_the_demo_tells_why_the_service_did_not_start_and_not_its_whole_log(tmp_path):
    log = tmp_path / "up.log"
    log.write_text("· Triton loads\nclipserve-gateway: It is broken.\n· Mend it.\n· Triton's log: /a\n")
    ended = subprocess.Popen(["true"])
    ended.wait()
    with pytest.raises(SystemExit) as told:
        wait_until_ready(ended, log)
    assert str(told.value) == (
        "✗ The service did not start.\nclipserve-gateway: It is broken.\n· Mend it.\n· Triton's log: /a"
    )


@pytest.mark.slow
def test_a_damaged_libpython_is_named(tmp_path):
    environment = tmp_path / "env"
    (environment / "lib").mkdir(parents=True)
    for name in ("bin", "pyvenv.cfg"):
        (environment / name).symlink_to(ROOT / ".venv-models" / name)
    for folder in (ROOT / ".venv-models" / "lib").glob("python3.*"):
        (environment / "lib" / folder.name).symlink_to(folder)
        (environment / "lib" / f"lib{folder.name}.so.1.0").touch()
    done = run_up(
        *("--models-env", str(environment), "--model-repository", str(REPOSITORY)),
        *("--data", str(tmp_path / "data")),
    )
    assert done.returncode == 1
    assert re.search(
        r"clipserve-gateway: The shared library libpython3\S*\.so\.1\.0, .* is missing or damaged\.",
        done.stderr,
    )


@pytest.mark.parametrize(
    "fault",
    [pytest.param(name, marks=[] if name == "config" else pytest.mark.slow) for name in FAULTS],
)
def test_a_start_that_fails_ends_at_once_with_cause_remedy_and_log(tmp_path, models, fault):
    break_it, cause = FAULTS[fault]
    break_it(models)
    done = run_up("--model-repository", str(models), "--data", str(tmp_path / "data"))
    assert done.returncode == 1
    log = tmp_path / "data" / "triton.log"
    slow = r"· after \d+ s Triton still loads demo\b.*\n"
    loads = rf"· Triton \(pid \d+\) loads its models; its log: {log}\n(?:{slow})*"
    retried = (
        r"✗ Triton's Python backend crashed at a lock in shared memory, a known bug of Triton\.\n"
        rf"· Start again\.\n· Triton's log: {log}\n· Triton is started again in [\d.]+ s\n"
    )
    failed = rf"clipserve-gateway: (?:{cause})\n· .+\n· Triton's log: {log}\n"
    assert re.fullmatch(f"(?:{loads}{retried})*{loads}{failed}", done.stderr), done.stderr
    assert "demo_image" in log.read_text()


EXIT_SECONDS = 60
"""A process that exits first finishes its imports: a thread loads the engine, slowly on a busy machine."""


@pytest.mark.slow
def test_a_triton_that_is_killed_while_it_loads_ends_the_start(tmp_path):
    service = begin_up(tmp_path)
    os.kill(service.triton_pid, signal.SIGKILL)
    assert service.process.wait(EXIT_SECONDS) == 1
    assert "clipserve-gateway: Triton was killed (SIGKILL)" in service.words


@pytest.mark.slow
def test_a_triton_that_hangs_from_the_beginning_is_killed_at_the_deadline(tmp_path):
    service = begin_up(tmp_path, "--startup-seconds", "3")
    os.kill(service.triton_pid, signal.SIGSTOP)
    assert service.process.wait(3 + EXIT_SECONDS) == 1
    assert "--startup-seconds" in service.words
    assert not alive(service.triton_pid)


@pytest.mark.slow
def test_a_start_takes_as_long_as_its_models_load_and_says_which_are_loaded(tmp_path):
    """The four towers take longer than a start without progress may; none of them does."""
    (tmp_path / "made").mkdir()
    for name in ("one", "two"):
        model = DelayModel(tmp_path / "made", name, Knobs(load=1.5))
    service = start(tmp_path, "--startup-seconds", "4", repository=model.repository)
    assert service.says(
        r"· model (one|two) is loaded \(1 of 2\)\n(.*\n)*· model (one|two) is loaded \(2 of 2\)"
    )
    assert service.stop() == 0


def test_a_model_that_never_loads_is_named_after_the_time_without_progress(tmp_path):
    (tmp_path / "made").mkdir()
    model = DelayModel(tmp_path / "made", "stuck", Knobs(load=1000))
    service = begin_up(tmp_path, "--startup-seconds", "3", "--model-repository", str(model.repository))
    assert service.process.wait(30 + EXIT_SECONDS) == 1
    assert re.search(
        r"clipserve-gateway: Triton has made no progress for \d+ s while it loads stuck_(image|text)\.\n"
        r"· .*--startup-seconds",
        service.words,
    )
    assert not alive(service.triton_pid)


@pytest.mark.parametrize("data", ["/etc/passwd", "/etc/passwd/x", "/proc/x"])
def test_a_data_folder_that_cannot_be_used_is_told_before_triton_starts(data):
    done = run_up("--model-repository", str(REPOSITORY), "--data", data)
    assert done.returncode == 1
    [cause, remedy] = done.stderr.splitlines()
    assert cause.startswith(f"clipserve-gateway: The data folder {data} cannot be used: ")
    assert "--data or CLIPSERVE_DATA" in remedy


@pytest.mark.slow
def test_a_chosen_port_that_another_process_takes_is_chosen_anew(tmp_path):
    service = begin_up(tmp_path)
    words = Path(f"/proc/{service.triton_pid}/cmdline").read_text().split("\0")
    [port] = [int(word.partition("=")[2]) for word in words if word.startswith("--grpc-port=")]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        assert service.says("ready after"), service.words
    assert f"· port {port} was taken meanwhile by pid {os.getpid()} (" in service.words
    assert service.triton != f"127.0.0.1:{port}"
    assert clipserve.Client(service.address).embed_texts(["a dog"]).embeddings.shape[0] == 1
    assert service.stop() == 0


@pytest.mark.slow
def test_odd_paths_and_a_bare_environment_do_not_matter(tmp_path):
    odd = tmp_path / "Möbel \"und\" 'so' $HOME `x`"
    odd.mkdir()
    shutil.copytree(REPOSITORY, odd / "mo dels")
    (odd / "e nv").symlink_to(ROOT / ".venv-models")
    service = start(
        odd,
        *("--models-env", str(odd / "e nv")),
        repository=odd / "mo dels",
        env={"LC_ALL": "C", "TMPDIR": str(odd), "PYTHONPATH": "/nowhere", "LANG": ""},
    )
    assert clipserve.Client(service.address).embed_texts(["a dog"]).embeddings.shape[0] == 1
    assert service.stop() == 0


@pytest.mark.slow
def test_triton_notices_what_changes_in_the_repository(begin, models, tmp_path):
    service = begin(repository=models)
    code = version_folder(models, "demo_text") / "model.py"
    code.write_text(code.read_text() + "\nraise RuntimeError('changed')\n")
    triton_log = tmp_path / "data" / "triton.log"
    assert wait_for(lambda: "RuntimeError: changed" in triton_log.read_text(), 30)
    assert service.stop() == 0


@pytest.mark.slow
def test_a_bad_neighbour_is_told_and_the_good_model_serves(begin, models):
    for tower in ("image", "text"):
        shutil.copytree(models / f"demo_{tower}", models / f"bad_{tower}")
        config = models / f"bad_{tower}" / "config.pbtxt"
        config.write_text(config.read_text().replace(f'name: "demo_{tower}"', f'name: "bad_{tower}"', 1))
    (version_folder(models, "bad_image") / "model.pt").write_bytes(b"these are not weights")
    service = begin(repository=models)
    # Of several models at the very first start, none is the default.
    answer = clipserve.Client(service.address).embed_texts(["a dog"], model="demo")
    assert answer.embeddings.shape[0] == 1
    assert service.says(r"✗ Triton \(pid \d+\): model bad does not answer: Triton cannot load bad_image", 30)
    assert service.stop() == 0


def test_ctrl_c_stops_both(tmp_path):
    service = start(tmp_path)
    pid = service.triton_pid
    service.process.send_signal(signal.SIGINT)
    assert service.process.wait(60) == 0
    assert "✓ stopped" in service.words
    assert not alive(pid)


@pytest.mark.slow
def test_serving_leaves_the_repository_as_it_was(tmp_path):
    repository = tmp_path / "models"
    shutil.copytree(REPOSITORY, repository)
    before = {path: path.stat().st_mtime_ns for path in repository.rglob("*")}
    service = start(tmp_path, repository=repository)
    clipserve.Client(service.address).embed_texts(["a dog"])
    assert service.stop() == 0
    assert {path: path.stat().st_mtime_ns for path in repository.rglob("*")} == before


def test_a_killed_gateway_takes_its_triton_along(tmp_path):
    service = start(tmp_path)
    pid = service.triton_pid
    service.process.kill()
    service.process.wait()
    assert wait_for(lambda: not alive(pid))


@pytest.mark.slow
def test_a_gateway_alone_finds_triton_when_it_comes_and_again_after_it_went(tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    log = (tmp_path / "serve.log").open("w+")
    command = [BIN / "clipserve-gateway", "serve", "--triton", f"127.0.0.1:{port}", "--port", "0"]
    command += ["--http-port", "0", "--data", tmp_path / "alone", "--drain-seconds", "0"]
    gateway = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)
    try:
        log_text = (tmp_path / "serve.log").read_text
        assert wait_for(lambda: "listening on" in log_text())
        address = "127.0.0.1:" + log_text().split("listening on 127.0.0.1:")[1].split(",")[0]
        impatient = clipserve.Client(address, retry=None)
        with pytest.raises(clipserve.Unavailable):
            impatient.embed_texts(["a dog"])
        for turn in range(2):
            folder = tmp_path / str(turn)
            folder.mkdir()
            service = start(folder, "--triton-port", port)
            assert wait_for(lambda: any(model.ready for model in impatient.info().models), 30)
            assert impatient.embed_texts(["a dog"]).embeddings.shape[0] == 1
            assert service.stop() == 0
            with pytest.raises(clipserve.Unavailable):
                impatient.embed_texts(["a dog"])
        gateway.send_signal(signal.SIGTERM)
        assert gateway.wait(30) == 0
    finally:
        gateway.kill()
        gateway.wait()
        log.close()
