"""A headless Chromium, driven over a pipe by the DevTools protocol. Without one, tests that ask for it skip."""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions", "--hide-scrollbars")
PATIENCE = 60.0
Message = dict[str, Any]


class Tab:
    """A tab, and everything that it has told so far."""

    def __init__(self, send: Callable[[bytes], None], messages: Iterator[Message]) -> None:
        self._send, self._messages = send, messages
        self._session: str | None = None
        self._asked = 0
        self.events: list[Message] = []
        target = self.do("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Log", "Runtime"):
            self.do(f"{domain}.enable")

    def do(self, method: str, **params: Any) -> Message:
        """Have a command of the protocol done, and return what it says."""
        self._asked += 1
        message = {"id": self._asked, "method": method, "params": params}
        self._send(json.dumps(message | ({"sessionId": self._session} if self._session else {})).encode() + b"\0")
        for answer in self._messages:
            if answer.get("id") == self._asked:
                assert "error" not in answer, answer
                return dict(answer["result"])
            self.events.append(answer)
        raise AssertionError(f"the browser ended during {method}")

    def open(self, file: Path, *, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        """Open a file, and wait until it is loaded."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.do("Emulation.setEmulatedMedia", features=[scheme])
        self.do(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.events.clear()
        self.do("Page.navigate", url=file.absolute().as_uri())
        self.wait_for(lambda: bool(self.named("Page.loadEventFired")))

    def wait_for(self, happened: Callable[[], bool]) -> None:
        """Wait for something to happen in the page."""
        end = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < end, "waited in vain"
            self.ask("0")  # whose answer comes after what has happened meanwhile
            time.sleep(0.02)

    def ask(self, expression: str) -> Any:
        """Return the value of an expression in the page."""
        found = self.do("Runtime.evaluate", expression=expression, returnByValue=True, userGesture=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def named(self, method: str) -> list[Message]:
        """Return what was told by events of a name."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def complaints(self) -> list[Message]:
        """Return errors, and whatever was written to the console."""
        names = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
        return [told for name in names for told in self.named(name)]

    def requests(self) -> list[str]:
        """Return the addresses that were asked for."""
        return [told["request"]["url"] for told in self.named("Network.requestWillBeSent")]

    def screenshot(self, file: Path, *, whole: bool = False) -> None:
        """Write what is seen to a PNG file."""
        told = self.do(
            "Page.captureScreenshot", captureBeyondViewport=whole, **({"clip": self._whole()} if whole else {})
        )
        file.write_bytes(base64.b64decode(told["data"]))

    def pdf(self, file: Path) -> None:
        """Print the page."""
        file.write_bytes(base64.b64decode(self.do("Page.printToPDF", preferCSSPageSize=True)["data"]))

    def _whole(self) -> dict[str, float]:
        size = self.do("Page.getLayoutMetrics")["cssContentSize"]
        return {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}


def find_browser() -> str | None:
    """Return the path of a Chromium, if there is one."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


@contextmanager
def browser_tab() -> Iterator[Tab]:
    """Yield a tab of a browser of its own."""
    program = find_browser()
    if program is None:
        pytest.skip(f"found no browser: none of {', '.join(PROGRAMS)}")
    to_browser, from_browser = os.pipe(), os.pipe()

    def take_pipes() -> None:
        # Out of the way first: one pipe may lie where the other has to go.
        reads, writes = (fcntl.fcntl(pipe, fcntl.F_DUPFD, 10) for pipe in (to_browser[0], from_browser[1]))
        os.dup2(reads, 3)
        os.dup2(writes, 4)

    with TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        words = [program, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        with subprocess.Popen(words, preexec_fn=take_pipes, pass_fds=(3, 4), **quiet) as process:
            os.close(to_browser[0])
            os.close(from_browser[1])
            try:
                yield Tab(lambda text: _write(to_browser[1], text), _messages(from_browser[0]))
            finally:
                process.kill()
                os.close(to_browser[1])
                os.close(from_browser[0])


def _write(pipe: int, text: bytes) -> None:
    while text:
        text = text[os.write(pipe, text) :]


def _messages(pipe: int) -> Iterator[Message]:
    unread = b""
    while block := os.read(pipe, 1 << 16):
        *whole, unread = (unread + block).split(b"\0")
        yield from map(json.loads, whole)
