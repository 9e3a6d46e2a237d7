"""Chromium without a window, driven by the DevTools protocol over a pipe.

Takes pages as paths; runs JavaScript in them, moves the mouse, takes pictures, and collects what
the page has written to its console. Debian's package is called `chromium`.
"""

import base64
import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

_FLAGS = (
    "--headless",
    "--no-sandbox",  # which root can't have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--hide-scrollbars",
    "--remote-debugging-pipe",
)
# Chromium reads commands from descriptor 3 and writes answers to descriptor 4.
_LAUNCHER = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.dup2(int(sys.argv[2]), 4); "
    "os.execv(sys.argv[3], sys.argv[3:])"
)
_SECONDS_TO_END = 20
_FIRST_FREE = 10  # descriptors above those that the launcher replaces


class Page:
    """An open page.

    Attributes
    ----------
    messages : list of str
        Warnings, errors and exceptions in the console of the page, in order.
    requests : list of str
        The addresses that the page has asked for.
    """

    def __init__(self, commands: int, answers: int) -> None:
        self._commands = os.fdopen(commands, "wb")
        self._answers = os.fdopen(answers, "rb")
        self._received, self._number = b"", 0
        self._session: str | None = None
        self._is_loaded = False
        self.messages: list[str] = []
        self.requests: list[str] = []
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        attached = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._commands.write(json.dumps(message).encode() + b"\0")
        self._commands.flush()
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                result: dict[str, Any] = answer["result"]
                return result

    def open(
        self, path: Path, *, width: int = 1440, height: int = 900, theme: str = "light"
    ) -> None:
        """Open a page, and wait until it is loaded."""
        self.send(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )
        features = [{"name": "prefers-color-scheme", "value": theme}]
        self.send("Emulation.setEmulatedMedia", features=features)
        self._is_loaded = False
        assert "errorText" not in self.send("Page.navigate", url=path.as_uri())
        while not self._is_loaded:
            self._next()

    def run(self, expression: str) -> Any:
        """Return the value of a JavaScript expression; a promise is awaited."""
        done = self.send(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def move(self, x: float, y: float, kind: str = "mouseMoved", button: str = "none") -> None:
        """Move the mouse, or press or release its button, at a point of the window."""
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button, clickCount=1)

    def press(self, key: str) -> None:
        """Press and release a key, such as "ArrowRight"."""
        for kind in ("keyDown", "keyUp"):
            self.send("Input.dispatchKeyEvent", type=kind, key=key, code=key)

    def picture(self, path: Path, *, whole: bool = True) -> None:
        """Write a PNG file of the page, or of the part that the window shows."""
        taken = self.send("Page.captureScreenshot", captureBeyondViewport=whole)
        if whole:
            size = self.send("Page.getLayoutMetrics")["cssContentSize"]
            clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
            taken = self.send("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(taken["data"]))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._received:
            read = os.read(self._answers.fileno(), 1 << 16)
            assert read, "Chromium has ended"
            self._received += read
        text, _, self._received = self._received.partition(b"\0")
        message: dict[str, Any] = json.loads(text)
        self._collect(message.get("method", ""), message.get("params", {}))
        return message

    def _collect(self, event: str, found: dict[str, Any]) -> None:
        if event == "Page.loadEventFired":
            self._is_loaded = True
        elif event == "Network.requestWillBeSent":
            self.requests.append(found["request"]["url"])
        elif event == "Runtime.exceptionThrown":
            self.messages.append(json.dumps(found["exceptionDetails"]))
        elif event == "Runtime.consoleAPICalled" and found["type"] in ("warning", "error"):
            self.messages.append(json.dumps(found["args"]))
        elif event == "Log.entryAdded" and found["entry"]["level"] in ("warning", "error"):
            self.messages.append(json.dumps(found["entry"]))


@contextmanager
def browser(profile: Path, flags: Sequence[str] = ()) -> Iterator[Page]:
    """Start Chromium and yield an empty page; end it when the block ends.

    Parameters
    ----------
    profile : Path
        A new folder for Chromium's own files.
    """
    assert CHROMIUM is not None
    read_commands, commands = os.pipe()
    answers, write_answers = os.pipe()
    theirs = [
        fcntl.fcntl(end, fcntl.F_DUPFD, _FIRST_FREE) for end in (read_commands, write_answers)
    ]
    arguments = [CHROMIUM, *_FLAGS, *flags, f"--user-data-dir={profile}"]
    process = subprocess.Popen(
        [sys.executable, "-c", _LAUNCHER, *map(str, theirs), *arguments],
        pass_fds=theirs,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    for descriptor in (read_commands, write_answers, *theirs):
        os.close(descriptor)
    page = None
    try:
        page = Page(commands, answers)
        yield page
        page._session = None
        page.send("Browser.close")
        process.wait(_SECONDS_TO_END)  # its children have ended before
    finally:
        if page is not None:
            page._commands.close()
            page._answers.close()
        process.terminate()
        process.wait()
