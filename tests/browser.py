"""Chromium by its debugging protocol, in a few lines: a WebSocket on a local port, one message at a time."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import struct
import subprocess
import time
import urllib.request
from pathlib import Path
from typing import Any

BINARY = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = ("quic", "background-networking", "component-update", "sync", "extensions", "gpu", "default-apps")


OWN = ("file:", "data:", "about:")


class Browser:
    """One page in a headless browser; `problems` holds console errors, exceptions and requests to the outside."""

    def __init__(self, folder: Path) -> None:
        flags = [f"--disable-{what}" for what in QUIET]
        command = [BINARY, "--headless", "--no-sandbox", "--no-first-run", "--hide-scrollbars", *flags]
        command += [f"--user-data-dir={folder}", "--remote-debugging-port=0", "about:blank"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.problems: list[str] = []
        self._last, self._buffer = 0, b""
        port_file = folder / "DevToolsActivePort"
        self._wait(lambda: port_file.exists() and len(port_file.read_text().split()) > 1)
        port = int(port_file.read_text().split()[0])
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json") as answer:
            page = next(target for target in json.load(answer) if target["type"] == "page")
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=60)
        path = page["webSocketDebuggerUrl"].partition(str(port))[2]
        key = base64.b64encode(os.urandom(16)).decode()
        self._socket.sendall(
            f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode()
        )
        while b"\r\n\r\n" not in self._buffer:
            self._buffer += self._socket.recv(4096)
        self._buffer = self._buffer.partition(b"\r\n\r\n")[2]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.call(f"{domain}.enable")

    @staticmethod
    def _wait(done: Any) -> None:
        end = time.monotonic() + 60
        while not done():
            assert time.monotonic() < end, "the browser did not answer"
            time.sleep(0.05)

    def _take(self, n: int) -> bytes:
        while len(self._buffer) < n:
            self._buffer += self._socket.recv(1 << 16)
        taken, self._buffer = self._buffer[:n], self._buffer[n:]
        return taken

    def _message(self) -> Any:
        text, final = b"", False
        while not final:
            first, size = self._take(2)
            final, size = bool(first & 0x80), size & 0x7F
            if size > 125:
                size = int.from_bytes(self._take(2 if size == 126 else 8), "big")
            text += self._take(size)
        return json.loads(text)

    def call(self, method: str, **parameters: Any) -> Any:
        """The result of a command; what the page says meanwhile is looked at."""
        self._last += 1
        text = json.dumps({"id": self._last, "method": method, "params": parameters}).encode()
        size = (
            struct.pack(">BB", 0x81, 0x80 | len(text)) if len(text) < 126 else struct.pack(">BBH", 0x81, 254, len(text))
        )
        self._socket.sendall(size + b"\0\0\0\0" + text)
        while True:
            message = self._message()
            self._look(message)
            if message.get("id") == self._last:
                assert "error" not in message, message
                return message["result"]

    def _look(self, message: Any) -> None:
        method, said = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown" or (method == "Runtime.consoleAPICalled" and said["type"] == "error"):
            self.problems.append(json.dumps(said)[:1500])
        elif method == "Log.entryAdded" and said["entry"]["level"] == "error":
            self.problems.append(said["entry"]["text"])
        elif method == "Network.requestWillBeSent" and not said["request"]["url"].startswith(
            ("file:", "data:", "about:")
        ):
            self.problems.append(said["request"]["url"])

    def open(self, url: str, width: int = 1200, height: int = 1600) -> None:
        """Load a page afresh in a window of that size, and wait for it."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        self.call("Page.navigate", url="about:blank")
        self.call("Page.navigate", url=url)
        self._wait(lambda: self.js("document.readyState === 'complete' && location.protocol === 'file:'"))

    def js(self, expression: str) -> Any:
        """The value of an expression."""
        result = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def press(self, key: str) -> None:
        """A key of the keyboard, to whatever has the focus."""
        code = {"ArrowRight": 39, "ArrowLeft": 37, "Tab": 9, "Home": 36, "End": 35, "Enter": 13, " ": 32}[key]
        extra = {"text": {"Enter": "\r", " ": " "}[key]} if key in ("Enter", " ") else {}
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **extra)

    def picture(self) -> bytes:
        """A PNG of the window."""
        return base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"])

    def close(self) -> None:
        """End the browser."""
        self._socket.close()
        self.process.terminate()
        self.process.wait(30)
