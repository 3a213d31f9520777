"""The messages for users about a Triton that did not start. The logs are real."""

from __future__ import annotations

import signal

import pytest
from clipserve_gateway.local.diagnosis import Diagnosis, Evidence, diagnose, shown
from clipserve_gateway.local.diagnosis_rules import NO_ADDRESS_SPACE

BEGINNING = """\
W1130 02:05:21.660981 27829 pinned_memory_manager.cc:273] "Unable to allocate pinned system memory, pinned \
memory pool will not be available: CUDA driver version is insufficient for CUDA runtime version"
I1130 02:05:21.661076 27829 cuda_memory_manager.cc:117] "CUDA memory pool disabled"
E1130 02:05:21.661198 27829 server.cc:241] "CudaDriverHelper has not been initialized."
I1130 02:05:21.663364 27829 model_lifecycle.cc:472] "loading: demo_image:1"
I1130 02:05:21.667257 27829 python_be.cc:2249] "TRITONBACKEND_ModelInstanceInitialize: demo_image_0_0 (CPU \
device 0)"
W1130 02:05:27.026766 27829 pinned_memory_manager.cc:170] "failed to allocate pinned system memory: no \
pinned memory pool, falling back to non-pinned system memory"
"""

DAMAGED = """\
E1130 02:05:24.650428 27829 model_lifecycle.cc:642] "failed to load 'demo_image' version 1: Internal: \
RuntimeError: PytorchStreamReader failed reading zip archive: failed finding central directory. This is an \
internal miniz error. If you are seeing this error, there is a high likelihood that your checkpoint file is \
corrupted.\\n\\nAt:\\n  /env/lib/python3.11/site-packages/torch/jit/_serialization.py(192): load\\n"
"""
NO_WEIGHTS = """\
E1130 02:06:37.086452 28813 model_lifecycle.cc:642] "failed to load 'demo_image' version 1: Internal: \
ValueError: The provided filename /models/demo_image/1/model.pt does not exist\\n\\nAt:\\n  /env/load\\n"
"""
NO_CODE = """\
I1130 02:06:58.437274 29528 pb_stub.cc:2105]  Failed to preinitialize Python stub: Python model file not \
found in '/models/demo_image/1/model.py'
"""
BAD_SYNTAX = """\
[libprotobuf ERROR /tmp/text_format.cc:337] Error parsing text-format inference.ModelConfig: 1:28: Expected \
":", found ""python"".
E1130 02:05:34.091091 27977 model_repository_manager.cc:1460] "Poll failed for model directory 'demo_image': \
failed to read text proto from /models/demo_image/config.pbtxt"
"""
BAD_NAME = """\
E1130 02:06:46.665791 29190 model_repository_manager.cc:1460] "Poll failed for model directory 'demo_image': \
unexpected directory name 'demo_image' for model 'other', directory name must equal model name"
"""
NO_VERSION = """\
E1130 02:10:49.376186 1468 model_repository_manager.cc:724] "failed to load model 'demo_image': at least one \
version must be available under the version policy of model 'demo_image'"
"""
BAD_BACKEND = """\
E1130 02:06:41.924253 29033 model_lifecycle.cc:642] "failed to load 'demo_image' version 1: Invalid \
argument: unable to find backend library for backend 'onnx', try specifying runtime on the model \
configuration."
"""
PYTHON_ERROR = """\
E1130 02:06:51.640586 29278 model_lifecycle.cc:642] "failed to load 'demo_image' version 1: Internal: \
SyntaxError: invalid syntax (model.py, line 18)"
"""
LOST_RACE = """\
terminate called after throwing an instance of 'boost::interprocess::lock_exception'
  what():  boost::interprocess::lock_exception
"""
NO_MODULE = """\
I1130 02:05:42.261900 28188 pb_stub.cc:366]  Failed to initialize Python stub: ModuleNotFoundError: No \
module named 'torch'
"""
DEAD_STUB = """\
E1130 02:08:05.362088 30761 model_lifecycle.cc:642] "failed to load 'demo_image' version 1: Internal: Stub \
process 'demo_image_0_0' is not healthy."
"""
NO_SHARED_MEMORY = """\
E1130 02:09:14.129542 32302 model_lifecycle.cc:642] "failed to load 'demo_image' version 1: Internal: Unable \
to initialize shared memory key 'clipserve-1' to requested size (1048576 bytes). If you are running Triton \
inside docker, use '--shm-size' flag to control the shared memory region size. Each Python backend model \
instance requires at least 1 MB of shared memory. Error: No space left on device"
"""
NO_LIBRARY = """\
/run/python/triton_python_backend_stub: error while loading shared libraries: libcudart-09529672.so.12.6.77: \
cannot open shared object file: No such file or directory
"""
NO_LIBPYTHON = """\
/run/python/triton_python_backend_stub: error while loading shared libraries: libpython3.11.so.1.0: cannot \
open shared object file: No such file or directory
"""
PORT = """\
E1130 02:06:10.926947 28430 main.cc:245] "failed to start GRPC service: Unavailable - Socket \
'127.0.0.1:36011' already in use "
"""
HTTP_PORT = PORT.replace("GRPC", "HTTP")
METRICS_PORT = PORT.replace("GRPC", "Metrics")
NO_FILES = (
    """\
[warn] /tmp/tritonbuild/evutil.c: pipe: Too many open files
"""
    + METRICS_PORT
)
FEW_FILES = """\
E1130 03:32:03.136012385   26433 tcp_server_posix.cc:358]      File descriptor limit reached. Retrying.
E1130 03:32:07.362429 26316 model_repository_manager.cc:1303] "failed to poll model repository '/models': \
failed to open directory /models"
"""
NO_THREADS = "terminate called\n  what():  Resource temporarily unavailable\n"
NO_SPACE = """\
E1130 03:31:50.365430 26234 model_lifecycle.cc:642] "failed to load 'demo_image' version 1: Internal: \
OSError: [Errno 28] No space left on device"
"""
NO_MEMORY = "terminate called after throwing an instance of 'std::bad_alloc'\n  what():  std::bad_alloc\n"
NO_PERMISSION = """\
E1130 02:08:05.362088 30761 model_lifecycle.cc:642] "failed to load 'demo_image' version 1: Internal: \
PermissionError: [Errno 13] Permission denied: '/models/demo_image/1/model.pt'\\n\\nAt:\\n  /env/load\\n"
"""
NO_TORCH_PERMISSION = """\
E1130 02:37:27.278677 27295 model_lifecycle.cc:642] "failed to load 'demo_image' version 1: Internal: \
RuntimeError: open file failed because of errno 13 on fopen: Permission denied, file path: \
/models/demo_image/1/model.pt\\n\\nAt:\\n  /env/torch/jit/_serialization.py(192): load\\n"
"""
NO_CONFIG_PERMISSION = """\
E1130 02:37:11.637310 26620 model_repository_manager.cc:1460] "Poll failed for model directory 'demo_image': \
failed to open text file for read /models/demo_image/config.pbtxt: Permission denied"
"""
NO_TORCH_MEMORY = """\
E1130 02:37:46.565569 31037 model_lifecycle.cc:642] "failed to load 'demo_image' version 1: Internal: \
RuntimeError: [enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you \
tried to allocate 884736 bytes. Error code 12 (Cannot allocate memory)\\n\\nAt:\\n  /env/load\\n"
"""
OLD_SYSTEM = """\
/env/tritonserver: /lib/libc.so.6: version `GLIBC_2.34' not found (required by /env/tritonserver)
"""


@pytest.mark.parametrize(
    ("log", "cause", "remedy"),
    [
        (DAMAGED, "The weights of demo_image (model.pt) are damaged.", "clipserve-export"),
        (NO_WEIGHTS, "The weights /models/demo_image/1/model.pt are missing.", "clipserve-export"),
        (NO_CODE, "The file /models/demo_image/1/model.py is missing.", "clipserve-export"),
        (
            BAD_SYNTAX,
            'The file config.pbtxt of demo_image cannot be read: 1:28: Expected ":", found ""python"".',
            "clipserve-export",
        ),
        (BAD_NAME, "The configuration of demo_image is bad: unexpected directory name", "clipserve-export"),
        (NO_VERSION, "The configuration of demo_image is bad: at least one version", "clipserve-export"),
        (
            BAD_BACKEND,
            "Triton cannot load demo_image: unable to find backend library for backend 'onnx', try "
            "specifying runtime on the model configuration.",
            "clipserve-export",
        ),
        (
            PYTHON_ERROR,
            "Triton cannot load demo_image: SyntaxError: invalid syntax (model.py, line 18).",
            "clipserve-export",
        ),
        (NO_MODULE, "The Python module torch is missing from the models' environment.", "make setup"),
        (
            NO_MODULE.replace("torch", "torch.jit"),
            "The Python module torch.jit is missing from the models' environment.",
            "make setup",
        ),
        (
            NO_MODULE.replace("torch", "nonsense_x"),
            "A model imports the Python module nonsense_x, which is missing from the models' environment.",
            "clipserve-export",
        ),
        (
            NO_MODULE.replace("torch", "torch_x"),
            "A model imports the Python module torch_x, which is missing",
            "clipserve-export",
        ),
        (DEAD_STUB, "The process of demo_image ended while the model was loaded.", "Start again"),
        (
            NO_SHARED_MEMORY,
            "Triton cannot get the shared memory (/dev/shm) that its Python models need: No space left on "
            "device.",
            "--shm-size",
        ),
        (NO_LIBRARY, "The shared library libcudart-09529672.so.12.6.77 is missing or damaged.", "make setup"),
        (
            NO_LIBPYTHON,
            "The shared library libpython3.11.so.1.0, which Triton's Python backend",
            "make setup",
        ),
        (PORT, "Port 36011, on which Triton should listen, is taken.", "--triton-port"),
        (HTTP_PORT, "Port 36011, on which Triton should listen, is taken.", "--triton-http-port"),
        (METRICS_PORT, "Port 36011, on which Triton should listen, is taken.", "--triton-metrics-port"),
        (NO_FILES, "The limit on open files (`ulimit -n`) is too low for Triton.", "ulimit -n 1024"),
        (FEW_FILES, "The limit on open files (`ulimit -n`) is too low for Triton.", "ulimit -n 1024"),
        (
            NO_LIBRARY.replace("No such file or directory", "Too many open files"),
            "The limit on open files (`ulimit -n`) is too low for Triton.",
            "ulimit -n 1024",
        ),
        (NO_THREADS, "A limit on threads or processes is too low for Triton.", "ulimit -u"),
        (NO_MEMORY, "There is too little memory for the models.", "Free some memory"),
        (NO_PERMISSION, "This user has no permission to read /models/demo_image/1/model.pt.", "chmod"),
        (NO_TORCH_PERMISSION, "This user has no permission to read /models/demo_image/1/model.pt.", "chmod"),
        (
            NO_CONFIG_PERMISSION,
            "This user has no permission to read /models/demo_image/config.pbtxt.",
            "chmod",
        ),
        (NO_TORCH_MEMORY, "There is too little memory for the models.", "Free some memory"),
        (OLD_SYSTEM, "This system's C library is too old: Triton needs version 2.34.", "2.35"),
    ],
)
def test_a_log_that_says_why_becomes_one_sentence_and_what_to_do(log: str, cause: str, remedy: str) -> None:
    diagnosis = diagnose(BEGINNING + log, Evidence())
    assert diagnosis.cause.startswith(cause)
    assert remedy in diagnosis.remedy
    assert diagnosis.known
    assert_is_a_sentence(diagnosis)


def assert_is_a_sentence(diagnosis: Diagnosis) -> None:
    for text in (diagnosis.cause, diagnosis.remedy):
        assert "\n" not in text
        assert text.endswith(".")
        assert ".." not in text
        assert len(text) < 350


@pytest.mark.parametrize(
    ("evidence", "cause"),
    [
        (Evidence(stub_code=-9, oom_kills=1), "Memory ran out: the kernel has killed a process."),
        (Evidence(stub_code=-9), "The process of a model was killed (SIGKILL), most likely because memory"),
        (Evidence(exit_code=-9), "Triton was killed (SIGKILL), most likely because memory ran out."),
        (Evidence(stub_code=-4, no_avx2=True), "cannot run here: the processor has no AVX2."),
        (Evidence(exit_code=-4), "cannot run here: the processor lacks an instruction"),
        (Evidence(stub_code=-11), "The process of demo_image ended while the model was loaded (SIGSEGV)."),
        (
            Evidence(exit_code=-11, shared_memory=4 << 20),
            "Triton has crashed, and /dev/shm holds only 4 MiB.",
        ),
    ],
)
def test_the_end_of_a_process_says_more_than_that_it_is_not_healthy(evidence: Evidence, cause: str) -> None:
    diagnosis = diagnose(BEGINNING + DEAD_STUB, evidence)
    assert cause in diagnosis.cause
    assert_is_a_sentence(diagnosis)


def test_a_crash_at_a_lock_of_the_python_backend_may_pass_unless_shared_memory_is_small() -> None:
    lost = diagnose(BEGINNING + LOST_RACE, Evidence(exit_code=-6, shared_memory=24 << 30))
    assert lost.transient
    assert "a known bug of Triton" in lost.cause
    assert_is_a_sentence(lost)
    small = diagnose(BEGINNING + LOST_RACE, Evidence(exit_code=-6, shared_memory=1 << 20))
    assert not small.transient
    assert "/dev/shm holds only 1 MiB" in small.cause


def test_what_is_full_is_a_small_shared_memory_or_else_a_disk() -> None:
    small = diagnose(BEGINNING + NO_SPACE, Evidence(exit_code=-6, shared_memory=1 << 20))
    assert small.cause == "Triton needs more shared memory: /dev/shm holds only 1 MiB."
    assert "--shm-size" in small.remedy
    assert_is_a_sentence(small)
    for shared_memory in (None, 24 << 30):
        disk = diagnose(BEGINNING + NO_SPACE, Evidence(shared_memory=shared_memory))
        assert disk.cause == "A disk that Triton writes to is full."


def test_address_space_that_is_used_up_is_told_by_its_limit() -> None:
    diagnosis = diagnose(BEGINNING, Evidence(symptom=NO_ADDRESS_SPACE))
    assert "ulimit -v" in diagnosis.cause
    assert "ulimit -v unlimited" in diagnosis.remedy
    assert_is_a_sentence(diagnosis)


@pytest.mark.parametrize(
    "why",
    [
        "the repository has no demo_text",
        "Triton cannot load demo_text: unable to find it",
        "demo_image: parameter embed_dim is not a whole number above 0",
        "demo_text: parameter tokenizer is 'x'; this gateway knows 'openai_bpe'",
        "demo_text: parameter embed_dim is missing",
        "demo_image: parameter canary_text_embedding has 3 bytes, not 1024",
        "demo: the towers disagree on fingerprint",
        "demo: fingerprint is not 64 hex digits",
        "demo: text_length is neither ragged nor fixed",
    ],
)
def test_a_model_that_can_never_answer_is_to_be_exported_again(why: str) -> None:
    slow = "model a does not answer, for 1 s: a_image: Triton did not answer in time"
    bad = f"model demo does not answer, for 0 s: {why}"
    for symptom in (bad, f"{slow}; {bad}", f"{bad}; {slow}"):
        diagnosis = diagnose(BEGINNING, Evidence(symptom=symptom))
        assert diagnosis.cause == f"Model demo cannot be served: {why}."
        assert "clipserve-export" in diagnosis.remedy
        assert diagnosis.known


@pytest.mark.parametrize(
    "why",
    [
        "demo_image: no answer in time",
        "Triton did not answer in time",
        "Triton has not loaded it",
        "Triton cannot load demo_image: unloaded",
    ],
)
def test_a_model_that_is_merely_slow_is_to_be_given_time(why: str) -> None:
    symptom = f"model demo does not answer, for 9 s: {why}"
    diagnosis = diagnose(BEGINNING, Evidence(symptom=symptom))
    assert diagnosis.cause == f"Triton serves no model: {symptom}."
    assert "--startup-seconds" in diagnosis.remedy
    assert not diagnosis.known


def test_a_load_without_progress_names_the_model_and_how_to_allow_more_time() -> None:
    symptom = "Triton has made no progress for 180 s while it loads big_image"
    diagnosis = diagnose(BEGINNING, Evidence(symptom=symptom))
    assert diagnosis.cause == f"{symptom}."
    assert "--startup-seconds" in diagnosis.remedy
    assert not diagnosis.known, "the log may say more"


def test_a_repository_that_cannot_be_opened_any_more_is_laid_to_a_low_limit_of_open_files() -> None:
    log = FEW_FILES.splitlines()[-1]
    symptom = "model demo does not answer, for 0 s: Triton cannot load demo_image: unloaded"
    for text in (log, ""):
        diagnosis = diagnose(BEGINNING + text, Evidence(symptom=symptom, open_files=64))
        assert diagnosis.cause == "The limit on open files (`ulimit -n`) is too low for Triton: it is 64."
        assert "ulimit -n 1024" in diagnosis.remedy
        assert not diagnose(BEGINNING + text, Evidence(symptom=symptom, open_files=1024)).known
    slow = "model demo does not answer, for 9 s: Triton has not loaded it"
    assert not diagnose(BEGINNING, Evidence(symptom=slow, open_files=64)).known


def test_a_port_that_is_taken_is_told_by_its_number() -> None:
    assert diagnose(PORT, Evidence(exit_code=1)).port == 36011
    assert diagnose(NO_FILES, Evidence(exit_code=1)).port == 0, "Triton says so of any socket it cannot open"


def test_a_model_that_answers_wrong_is_named() -> None:
    symptom = "model demo answers wrong, for 1 s: demo_image: cosine 0.31 to the recorded answer"
    diagnosis = diagnose(BEGINNING, Evidence(symptom=symptom))
    assert diagnosis.cause == ("Model demo answers wrong: demo_image: cosine 0.31 to the recorded answer.")
    assert "clipserve-export" in diagnosis.remedy


@pytest.mark.parametrize(
    ("evidence", "cause"),
    [
        (Evidence(exit_code=3), "Triton ended (exit code 3), and its log gives no known reason."),
        (Evidence(exit_code=-signal.SIGSEGV), "Triton ended (SIGSEGV), and its log gives no known reason."),
        (Evidence(symptom="nobody there"), "Triton serves no model: nobody there."),
        (Evidence(), "Triton serves no model: its log gives no known reason."),
    ],
)
def test_what_is_not_known_is_said_so(evidence: Evidence, cause: str) -> None:
    diagnosis = diagnose(BEGINNING, evidence)
    assert diagnosis.cause == cause
    assert not diagnosis.known


def test_tritons_words_are_shown_without_traceback_and_not_at_length() -> None:
    assert (
        shown('RuntimeError: no such thing.\\n\\nAt:\\n  /x.py(3): load\\n"') == "RuntimeError: no such thing"
    )
    assert len(shown("word " * 1000)) <= 201
