"""Calls to Milvus: in threads, in time, and with the errors of this house."""

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
"""After a call found no server, others do not try for so long: callers are told at once, not by timeouts."""
SLOW = {"load_collection": 60.0, "flush": 60.0}
"""Seconds for what takes a server seconds when all is well."""
NOT_FOUND, NOT_LOADED = 100, 101
REFUSED = frozenset({800, 1400, 1401})
"""Milvus's codes for a database that is not there, a caller that is not known, and one that lacks rights."""
REFUSED_NAMES = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED"})
NOT_READY = frozenset({2, NOT_LOADED, 500, 501, 502, 503, 504, 901})
"""Milvus's codes for a server, replica, shard or node that is not there yet or any more."""
AWAY = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED"})
AWAY_WORDS = ("Retry timeout", "not ready", "no available", "connection refused")
"""Of messages whose code is that of any error: parts of the server are down, or still coming up."""


class MilvusConnection:
    """One client of Milvus, which finds its server again by itself.

    It is pymilvus's client for threads: the one for asyncio cannot talk to milvus-lite.
    """

    def __init__(self, options: MilvusOptions) -> None:
        self._options = options
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="milvus")
        self._lock = threading.Lock()
        self._client: Any = None
        self._away_until = 0.0

    async def call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """The answer of a method of pymilvus's client.

        Raises StorageUnavailable where no server answers in time, TableNotFound, StorageRefused for wrong
        credentials, or StorageFailed.
        """
        work = functools.partial(self._call, method, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    def _call(self, method: str, *args: Any, **kwargs: Any) -> Any:
        if time.monotonic() < self._away_until:
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
            # A server that has just started, or whose operator released the table.
            client.load_collection(args[0], timeout=SLOW["load_collection"])
            return work()
        except Exception as error:
            raise self._translated(error) from error

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                # pymilvus logs every error with its traceback; callers hear of them from here.
                logging.getLogger("pymilvus").setLevel(logging.CRITICAL)
                options = self._options
                facts: dict[str, Any] = {"db_name": options.database, "token": options.token}
                if not options.lite:
                    facts["grpc_options"] = dict(channel_options(options.address))
                if options.ca:
                    facts["ca_pem_path"] = options.ca
                self._client = importlib.import_module("pymilvus").MilvusClient(
                    uri=options.address, timeout=options.timeout, dedicated=True, **facts
                )
            return self._client

    def _translated(self, error: Exception) -> Exception:
        """The error in this house's words, without what the server says of itself or of its secrets."""
        code = getattr(error, "code", None)
        code = code() if callable(code) else code
        name = getattr(code, "name", "")
        said = (str(getattr(error, "message", "") or error).splitlines() or [type(error).__name__])[0][:300]
        if code == NOT_FOUND:
            return TableNotFound("its table is gone")
        if name in AWAY or code in NOT_READY or any(words in said for words in AWAY_WORDS):
            self._away_until = time.monotonic() + GIVEN_UP_SECONDS
            return self._unavailable("try again in a few seconds", said)
        if name in REFUSED_NAMES or code in REFUSED:
            advice = "Milvus refuses this gateway: check milvus_token, its user's rights and the database"
            return StorageRefused(advice, detail=said)
        return StorageFailed("Milvus refused", detail=said)

    def _unavailable(self, words: str, said: str) -> StorageUnavailable:
        proxy = "" if self._options.lite else proxy_hint(self._options.address)
        detail = " ".join(filter(None, (self._options.address, said, proxy)))
        return StorageUnavailable(f"Milvus does not answer; {words}", detail=detail)

    async def close(self) -> None:
        """Waits for what is under way, and disconnects."""
        await asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        if self._client is not None:
            await asyncio.to_thread(self._client.close)
            self._client = None
