"""Where torch comes from: a build without CUDA is a tenth of the size of one with it."""

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
"""PyTorch's own index of builds without CUDA. TORCH_INDEX names another one, or a folder of wheels."""
REACH_SECONDS = 5.0


def wanted_index(device: str, environ: Mapping[str, str]) -> str:
    """The index to ask for torch first; empty for pip's ordinary one."""
    if "TORCH_INDEX" in environ:
        return environ["TORCH_INDEX"].strip()
    return CPU_INDEX if device == "cpu" else ""


def problem(index: str) -> str:
    """Why the index cannot be used, in a few words; empty if it answers within REACH_SECONDS."""
    answers: list[str] = []
    # A server that sends a byte now and then would keep a time-out of the socket from ending this.
    thread = threading.Thread(target=lambda: answers.append(ask(index)), daemon=True)
    thread.start()
    thread.join(REACH_SECONDS)
    return answers[0] if answers else f"no answer within {REACH_SECONDS:.0f} s"


def ask(index: str) -> str:
    """The same, for as long as it takes."""
    if Path(index).is_dir():
        return "" if list(Path(index).glob("torch-*.whl")) else "the folder holds no wheel of torch"
    try:
        url = urllib.parse.urlsplit(index)
    except ValueError:
        return "not an address"
    if url.scheme == "file":
        return "" if Path(urllib.parse.unquote(url.path)).exists() else "there is no such folder"
    if url.scheme not in ("http", "https"):
        return "neither an address nor a folder"
    try:
        with urllib.request.urlopen(f"{index.rstrip('/')}/torch/", timeout=REACH_SECONDS):
            return ""
    except urllib.error.HTTPError as error:
        # A mirror that wants a password answers 401 here; pip knows how to give it.
        return "" if error.code in (401, 403) else f"it answers {error.code}"
    except (OSError, ValueError, http.client.HTTPException) as error:
        return str(getattr(error, "reason", error) or type(error).__name__)


def pip_options(index: str) -> list[str]:
    """pip's options for that index; of an ordinary one, none."""
    if not index:
        return []
    if Path(index).is_dir():
        return ["--no-index", "--find-links", os.path.abspath(index)]
    return ["--index-url", index]
