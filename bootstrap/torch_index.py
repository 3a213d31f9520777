"""The index for torch. A build without CUDA is a tenth of the size of one with CUDA."""

from __future__ import annotations

import http.client
import os
import threading
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from pathlib import Path

CPU_INDEX = "https://download.pytorch.org/whl/cpu"
"""PyTorch's index of builds without CUDA. TORCH_INDEX names another index or a folder of wheels."""
REACH_SECONDS = 5.0


def wanted_index(device: str, environ: Mapping[str, str]) -> str:
    """The index to try first; empty for pip's default index."""
    if "TORCH_INDEX" in environ:
        return environ["TORCH_INDEX"].strip()
    return CPU_INDEX if device == "cpu" else ""


def problem(index: str) -> str:
    """Why the index cannot be used; empty if it answers within REACH_SECONDS."""
    answers: list[str] = []
    # In a thread, as the socket's timeout does not end a response that arrives byte by byte.
    thread = threading.Thread(target=lambda: answers.append(ask(index)), daemon=True)
    thread.start()
    thread.join(REACH_SECONDS)
    return answers[0] if answers else f"no answer within {REACH_SECONDS:.0f} s"


def ask(index: str) -> str:
    """Like problem(), without a time limit."""
    if Path(index).is_dir():
        return "" if list(Path(index).glob("torch-*.whl")) else "the folder has no wheel of torch"
    try:
        url = urllib.parse.urlsplit(index)
    except ValueError:
        return "not an address"
    if url.scheme == "file":
        return "" if Path(urllib.parse.unquote(url.path)).exists() else "the folder does not exist"
    if url.scheme not in ("http", "https"):
        return "neither an address nor a folder"
    try:
        with urllib.request.urlopen(f"{index.rstrip('/')}/torch/", timeout=REACH_SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        # A mirror with a password answers 401 here; pip can send the password.
        return "" if error.code in (401, 403) else f"it answers {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(getattr(error, "reason", error) or type(error).__name__)


def pip_options(index: str) -> list[str]:
    """pip's options for the index; empty for the default index."""
    if not index:
        return []
    if Path(index).is_dir():
        return ["--no-index", "--find-links", os.path.abspath(index)]
    return ["--index-url", index]
