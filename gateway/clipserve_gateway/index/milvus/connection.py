"""Calls pymilvus in threads and with timeouts, and translates its errors."""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from clipserve_gateway.errors import StorageFailed, StorageRefused, StorageUnavailable, TableNotFound
from clipserve_gateway.index.milvus.options import MilvusOptions
from clipserve_gateway.process.proxies import channel_options, proxy_hint

log = logging.getLogger(__name__)

THREADS = 16
GIVEN_UP_SECONDS = 1.0
"""After a call found no server, further calls fail at once for this time, instead of by a timeout each."""
SLOW = {"load_collection": 60.0, "flush": 60.0}
"""Longer timeouts, in seconds, for calls that take a healthy server seconds."""
NOT_FOUND, NOT_LOADED = 100, 101
REFUSED = frozenset({800, 1400, 1401})
"""Milvus's codes for a missing database, failed authentication, and missing privileges."""
REFUSED_NAMES = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
NOT_READY = frozenset({2, NOT_LOADED, 500, 501, 502, 503, 504, 901})
"""Milvus's codes for a server, replica, shard or node that is not available."""
UNAVAILABLE_NAMES = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"})
UNAVAILABLE_WORDS = ("Retry timeout", "not ready", "no available", "connection refused")
"""Parts of messages with an unspecific code: parts of the server are down or still starting."""


class MilvusConnection:
    """A client of Milvus that reconnects by itself.

    It uses pymilvus's blocking client, because the one for asyncio does not support milvus-lite.
    """

    def __init__(self, options: MilvusOptions) -> None:
        self._options = options
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="milvus")
        self._lock = threading.Lock()
        self._client: Any = None
        self._unavailable_until = 0.0

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Calls a method of pymilvus's client.

        Raises StorageUnavailable if no server answers in time, TableNotFound, StorageRefused for wrong
        credentials, or StorageFailed.
        """
        work = functools.partial(self._call, method, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        if time.monotonic() < self._unavailable_until:
            raise self._unavailable("it did not answer a moment ago", "")
        timeout = max(self._options.timeout, SLOW.get(method, 0.0))
        try:
            client = self._connected()
            work = functools.partial(getattr(client, method), *args, timeout=timeout, **kwargs)
            try:
                return work()
            except Exception as error:
                if getattr(error, "code", None) != NOT_LOADED:
                    raise
            # The server has just started, or an operator released the table.
            client.load_collection(args[0], timeout=SLOW["load_collection"])
            return work()
        except Exception as error:
            raise self._translated(error) from error

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                # pymilvus logs every error with its traceback. Callers get these errors anyway.
                logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
                options = self._options
                arguments: dict[str, Any] = {"db_name": options.database, "token": options.token}
                if not options.lite:
                    arguments["grpc_options"] = dict(channel_options(options.address))
                if options.ca:
                    arguments["ca_pem_path"] = options.ca
                self._client = importlib.import_module("pymilvus").MilvusClient(
                    uri=options.address, timeout=options.timeout, dedicated=True, **arguments
                )
            return self._client

    def _translated(self, error: Exception) -> Exception:
        """The error for callers. The server's own message, which may hold secrets, is only in its detail."""
        code = getattr(error, "code", None)
        code = code() if callable(code) else code
        name = getattr(code, "name", "")
        lines = str(getattr(error, "message", "") or error).splitlines() or [type(error).__name__]
        message = lines[0][:300]
        if code == NOT_FOUND:
            return TableNotFound("the collection's table does not exist any more")
        unavailable = name in UNAVAILABLE_NAMES or code in NOT_READY
        if unavailable or any(words in message for words in UNAVAILABLE_WORDS):
            self._unavailable_until = time.monotonic() + GIVEN_UP_SECONDS
            return self._unavailable("try again in a few seconds", message)
        if name in REFUSED_NAMES or code in REFUSED:
            advice = "Milvus refuses this gateway: check milvus_token, its user's rights and the database"
            return StorageRefused(advice, detail=message)
        return StorageFailed("Milvus reported an error", detail=message)

    def _unavailable(self, advice: str, message: str) -> StorageUnavailable:
        proxy = "" if self._options.lite else proxy_hint(self._options.address)
        detail = " ".join(filter(None, (self._options.address, message, proxy)))
        return StorageUnavailable(f"Milvus does not answer; {advice}", detail=detail)

    async def close(self) -> None:
        """Waits for calls in progress, and disconnects."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        if self._client is not None:
            await asyncio.to_thread(self._client.close)
            self._client = None
