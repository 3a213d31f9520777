"""A real Milvus server on this machine, from the `milvus` wheel: standalone, with its etcd and log inside."""

from __future__ import annotations

import secrets
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import pymilvus
from clipserve_gateway.local.ports import free_ports

from testing.launch import launch

START_SECONDS = 120.0


class MilvusServer:
    """Data in a folder, ports of its own. It listens on all interfaces; it has no setting for that."""

    def __init__(self, folder: Path) -> None:
        import milvus

        self._folder = folder
        self._config = milvus.MilvusServerConfig(data_dir=str(folder))
        # Searches that must see every write wait for the next tick of the clock: 200 ms apart unless told.
        self._config.set("proxy.timeTickInterval", 20)
        # Until a segment's index is there, Milvus 2.3 searches it by a coarse one, and misses neighbors.
        self._config.set("queryNode.segcore.interimIndex.enableIndex", "false")
        # So long does a server that was killed count as alive, for the one that takes its place.
        self._config.set("common.session.ttl", 5)
        keys = [key for key in self._config.configurable_items if key.endswith("_port")]
        self._metrics_port, peer_port, *ports = free_ports(*[0] * (len(keys) + 2))
        self._config.configs.update(zip(keys, ports, strict=True))
        self._config.resolve()
        milvus._initialize_data_files(str(folder))
        self._etcd = folder / "etcd.yaml"
        self._etcd.write_text(etcd_config(self._config.get("etcd_port"), peer_port))
        self.port = int(self._config.get("proxy_port"))
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def uri(self) -> str:
        """For open_engine."""
        return f"milvus://127.0.0.1:{self.port}"

    def new_database(self) -> str:
        """A URI for open_engine, of an empty database."""
        name = f"test_{secrets.token_hex(6)}"
        client = pymilvus.MilvusClient(f"http://127.0.0.1:{self.port}")
        client.create_database(name)
        client.close()
        return f"{self.uri}/{name}"

    def start(self) -> None:
        """Starts it on its ports and data, and waits until it serves."""
        binary = self._folder / "bin" / "milvus"
        environment = {
            "DEPLOY_MODE": "STANDALONE",
            "ETCD_CONFIG_PATH": str(self._etcd),
            "METRICS_PORT": str(self._metrics_port),
            "MILVUS_RUN_DIR": str(self._folder / "run"),
            "LD_LIBRARY_PATH": str(binary.parent),
        }
        self.process = launch(
            [binary, "run", "standalone"],
            log=self._folder / "server.log",
            cwd=self._folder,
            env=environment,
        )
        deadline = time.monotonic() + START_SECONDS
        while not self._healthy():
            assert self.process.poll() is None, f"Milvus ended; see {self._folder / 'server.log'}"
            assert time.monotonic() < deadline, "Milvus does not come up"
            time.sleep(0.1)

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/healthz", timeout=5) as found:
                return b"OK" in found.read()
        except (OSError, urllib.error.HTTPError):
            return False

    def kill(self) -> None:
        """Ends it at once; asked to end by itself, it may take minutes."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def etcd_config(port: int, peer_port: int) -> str:
    """Without this the etcd inside takes its usual ports, and no second server finds room."""
    client, peer = f"http://127.0.0.1:{port}", f"http://127.0.0.1:{peer_port}"
    lines = {
        "listen-client-urls": client,
        "advertise-client-urls": client,
        "listen-peer-urls": peer,
        "initial-advertise-peer-urls": peer,
        "initial-cluster": f"default={peer}",
        "data-dir": "etcd.data",
    }
    return "".join(f"{name}: {value}\n" for name, value in lines.items())
