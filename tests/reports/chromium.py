"""A headless Chromium, spoken to through a pipe in the language of its developer tools."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

FOUND = next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)

PATIENCE = 60.0
"""Seconds to wait for an answer, on a busy machine."""


class Page:
    """One page, in a browser of its own that can reach no network.

    Args:
        path: the file to show.
        width: of the window, in CSS pixels.
        height: likewise; what is within it counts as seen.
        dark: whether the reader prefers dark pages.
        profile: an empty folder for the browser.
    """

    def __init__(self, path: Path, *, width: int, height: int, dark: bool, profile: Path) -> None:
        down, up = os.pipe(), os.pipe()
        command = (
            f'exec "{FOUND}" --headless=new --no-sandbox --disable-gpu --disable-dev-shm-usage --hide-scrollbars '
            "--no-first-run --disable-background-networking --disable-component-update --disable-sync "
            f'--host-resolver-rules="MAP * ~NOTFOUND" --user-data-dir="{profile}" --remote-debugging-pipe about:blank '
            f"3<&{down[0]} 4>&{up[1]}"
        )
        self._process = subprocess.Popen(
            ["bash", "-c", command], pass_fds=(down[0], up[1]), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        os.close(down[0])
        os.close(up[1])
        self._out, self._in = down[1], up[0]
        self._last, self._left = 0, b""
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session: str | None = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Runtime", "Log", "Network", "Page"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setEmulatedMedia", features=[_prefers(dark)])
        self.resize(width, height)
        self.call("Page.navigate", url=path.as_uri())
        self.wait_for("document.readyState === 'complete'")

    _session = None

    def __enter__(self) -> Page:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._out)  # at the end of the pipe, the browser ends
        os.close(self._in)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Ask for something and wait for the answer; what happens meanwhile goes to `events`."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._last:
                if "error" in answer:
                    raise RuntimeError(f"{method}: {answer['error']['message']}")
                found: dict[str, Any] = answer["result"]
                return found
            self.events.append(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._left:
            more = os.read(self._in, 1 << 20)
            if not more:
                raise RuntimeError(f"the browser ended with code {self._process.wait()}")
            self._left += more
        message, _, self._left = self._left.partition(b"\0")
        found: dict[str, Any] = json.loads(message)
        return found

    def evaluate(self, expression: str) -> Any:
        """Give what a JavaScript expression is."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        if "exceptionDetails" in answer:
            raise RuntimeError(f"{expression}: {answer['exceptionDetails']['exception']['description']}")
        return answer["result"].get("value")

    def wait_for(self, expression: str) -> None:
        """Wait until an expression is true."""
        end = time.monotonic() + PATIENCE
        while not self.evaluate(expression):
            if time.monotonic() > end:
                raise TimeoutError(f"{expression} did not become true in {PATIENCE:g} s")
            time.sleep(0.05)

    def resize(self, width: int, height: int) -> None:
        """Give the window another size."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )

    def prefer(self, *, dark: bool) -> None:
        """Let the reader prefer dark or light pages."""
        self.call("Emulation.setEmulatedMedia", features=[_prefers(dark)])

    def whole(self) -> int:
        """Unfold all, make the window as high as the page, and wait until all figures are drawn; gives the height."""
        width = self.evaluate("innerWidth")
        self.evaluate("document.querySelectorAll('details').forEach(e => e.open = true)")
        for _ in range(3):
            height = int(self.evaluate("document.documentElement.scrollHeight"))
            self.resize(width, height)
            self.wait_for(
                "Array.from(document.querySelectorAll('[data-figure]')).every(e => e.querySelector('.main-svg'))"
            )
        return height

    def screenshot(self, path: Path) -> None:
        """Write what is seen as a PNG file."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def complaints(self) -> list[str]:
        """Give what went to the console as an error or warning, and exceptions that nobody caught."""
        self.evaluate("1")  # whatever was said before has then arrived
        found = []
        for event in self.events:
            about = event.get("params", {})
            match event["method"]:
                case "Log.entryAdded" if about["entry"]["level"] in ("error", "warning"):
                    found.append(about["entry"]["text"])
                case "Runtime.consoleAPICalled" if about["type"] in ("error", "warning", "assert"):
                    found.append(" ".join(str(each.get("value", each)) for each in about["args"]))
                case "Runtime.exceptionThrown":
                    found.append(about["exceptionDetails"]["exception"]["description"])
        return found

    def requests(self) -> list[str]:
        """Give the addresses that were asked for."""
        self.evaluate("1")
        return [e["params"]["request"]["url"] for e in self.events if e["method"] == "Network.requestWillBeSent"]


def _prefers(dark: bool) -> dict[str, str]:
    return {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
