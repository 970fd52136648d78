"""A real Mosquitto on a free port of this machine, for benchmarks and tests."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from paho.mqtt import client as paho
from paho.mqtt.enums import CallbackAPIVersion

BINARY = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


class Mosquitto:
    """A broker that keeps its sessions on disk, so that it can be restarted."""

    def __init__(self, folder: Path, lines: Sequence[str] = ("allow_anonymous true",), scheme: str = "mqtt") -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.url = f"{scheme}://127.0.0.1:{self.port}"
        self._file = folder / "mosquitto.conf"
        here = [f"listener {self.port} 127.0.0.1", "max_queued_messages 0", "user root"]
        kept = ["persistence true", f"persistence_location {folder}/", "autosave_interval 1"]
        self._file.write_text("\n".join([*here, *kept, *lines]) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Mosquitto:
        if BINARY is None:
            raise SystemExit("error: mosquitto is not installed\nhint: Debian and Ubuntu: apt-get install mosquitto")
        self._process = subprocess.Popen([BINARY, "-c", str(self._file)], stderr=subprocess.DEVNULL)
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return self
            except OSError:
                time.sleep(0.02)
        raise AssertionError("mosquitto does not listen")

    def stop(self) -> None:
        if self._process:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def publish(self, topic: str, *payloads: str | bytes, qos: int = 1, retain: bool = False) -> None:
        """Say these things; returns when the broker has them all."""
        client = paho.Client(CallbackAPIVersion.VERSION2)
        client.connect("127.0.0.1", self.port)
        client.loop_start()
        for info in [client.publish(topic, p, qos=qos, retain=retain) for p in payloads]:
            info.wait_for_publish(10)
        client.disconnect()
        client.loop_stop()
