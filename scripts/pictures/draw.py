"""
Draw the dashboards: Grafana's own panel components, over data of a real Prometheus that watched a real client in trouble.

    PYTHONPATH=tests python scripts/pictures/draw.py            play the five minutes, then draw
    PYTHONPATH=tests python scripts/pictures/draw.py --again    draw once more what Prometheus answered the last time

Needs Prometheus, Chromium and npm. It is no Grafana server, and it draws no annotations. What it installs lies in `.cache`.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from playwright.async_api import Page

from integration.support import Rig, RunningClient, RunningExchange, generated
from k2.simulator.faults import Close, Fault, Garbage, Refuse, Reset, Skip
from kit import jars
from kit.browser import open_browser, open_page
from kit.kafka import KafkaBroker
from kit.monitoring import Prometheus
from kit.ports import free_port
from kit.registry import SchemaRegistry
from operations.dashboards import dashboards, panels, substituted

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
WORKSHOP = ROOT / ".cache" / "pictures"
ANSWERS = WORKSHOP / "answers.json"
RULES = ROOT / "config" / "prometheus" / "rules" / "binance_alerts.yml"
WIDTH = 1600
DRAWN_AFTER_MS = 3_000  # plots are drawn frame by frame, and nothing says when they are done
RATE = 120  # trades a second
SETTLED_S, SHOWN_S, STEP_S = 300, 300, 2  # the longest window of a rate is five minutes
VARIABLES = {"job": ".+", "instance": ".+", "__rate_interval": "10s", "__range": f"{SHOWN_S}s", "__interval": f"{STEP_S}s"}
PAGE = """<!doctype html>
<link rel="stylesheet" href="panels.css">
<div id="root"></div>
<script src="panels.js"></script>
"""

Act = Callable[[], object]


class Play:
    """A client, everything around it, and what befalls it in five minutes."""

    def __init__(self, rig: Rig, kafka: KafkaBroker) -> None:
        self._rig, self._kafka, self._port = rig, kafka, free_port()
        self._exchange: RunningExchange = rig.exchange(generated(RATE))
        self._client = self._started()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    def run(self) -> None:
        """Each act at its second."""
        began_s = time.monotonic()
        for at_s, title, act in self._acts():
            time.sleep(max(0.0, began_s + at_s - time.monotonic()))
            print(f"{at_s:4} s  {title}", flush=True)
            act()

    def _acts(self) -> list[tuple[int, str, Act]]:
        return [
            (45, "frames that nobody understands", self._strike(Garbage())),
            (75, "the exchange breaks the connection", self._strike(Reset())),
            (105, "Kafka hangs", self._kafka.pause),
            (120, "Kafka goes on", self._kafka.resume),
            (150, "the exchange refuses, then closes", self._strike(Refuse(status=429, count=2, retry_after_s=2), Close())),
            (185, "ids are skipped", self._strike(Skip("BTCUSDT", count=40))),
            (215, "frames that nobody understands, again", self._strike(Garbage())),
            (240, "the client is restarted", self._restart),
            (SHOWN_S, "the end", lambda: None),
        ]

    def _strike(self, *faults: Fault) -> Act:
        return lambda: self._exchange.inject(*faults)

    def _restart(self) -> None:
        self._client.stopped()
        self._client = self._started()

    def _started(self) -> RunningClient:
        rig = self._rig
        arguments: list[object] = ["--ws-url", self._exchange.ws_url, "--http-port", self._port, "--dead-letter-dir", "dlq"]
        arguments += ["--kafka-bootstrap", rig.bootstrap, "--schema-registry", rig.registry_url]
        return rig.start(arguments, self._port)


def played() -> dict[str, Any]:
    """What Prometheus answers to every query of every dashboard, after the play."""
    jars.fetch_all()
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="k2-pictures-")))
        kafka, registry = stack.enter_context(KafkaBroker()), stack.enter_context(SchemaRegistry())
        play = Play(stack.enter_context(Rig(kafka, registry, directory)), kafka)
        rules = RULES.read_text(encoding="utf-8")
        prometheus = stack.enter_context(Prometheus([play.address], rules=rules, scrape_interval_s=1, evaluation_interval_s=1))
        time.sleep(SETTLED_S)
        play.run()
        to_s = time.time()
        return {
            "from": to_s - SHOWN_S,
            "to": to_s,
            "boards": {uid: _answers(prometheus, board, to_s) for uid, board in dashboards().items()},
        }


def _answers(prometheus: Prometheus, board: dict[str, Any], to_s: float) -> dict[str, Any]:
    return {
        f"{panel['id']}/{target['refId']}": _answer(prometheus, target, to_s)
        for panel in panels(board)
        for target in panel["targets"]
    }


def _answer(prometheus: Prometheus, target: dict[str, Any], to_s: float) -> list[dict[str, Any]]:
    expression = substituted(target["expr"], VARIABLES)
    if target.get("instant"):
        return [{"labels": one.labels, "points": [(to_s, one.value)]} for one in prometheus.query(expression, to_s)]
    return [
        {"labels": line.labels, "points": line.points}
        for line in prometheus.query_range(expression, to_s - SHOWN_S, to_s, STEP_S)
    ]


def bundle() -> Path:
    """The directory with the page that draws."""
    for name in ("package.json", "panels.jsx", "shrink.js"):
        shutil.copy(HERE / name, WORKSHOP)
    if not (WORKSHOP / "node_modules").exists():
        _npm("install", "--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--silent")
    _npm("run", "--silent", "bundle")
    icons = WORKSHOP / "node_modules" / "@grafana" / "ui" / "dist" / "public"
    shutil.copytree(icons, WORKSHOP / "out" / "public" / "build", dirs_exist_ok=True)
    (WORKSHOP / "out" / "page.html").write_text(PAGE, encoding="utf-8")
    return WORKSHOP / "out"


def _npm(*arguments: str) -> None:
    npm = shutil.which("npm")
    if npm is None:
        sys.exit("npm is not on the PATH: it installs Grafana's panel components")
    subprocess.run([npm, *arguments], cwd=WORKSHOP, check=True)  # noqa: S603 - a program of this machine


@contextmanager
def served(directory: Path) -> Iterator[str]:
    """The address of a server of these files: a page from the disk may not fetch its own icons."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(directory))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/page.html"
        server.shutdown()


async def draw(page_directory: Path, answers: dict[str, Any]) -> None:
    """Write a picture of each dashboard."""
    with served(page_directory) as url:
        async with open_browser() as browser:
            for uid, board in dashboards().items():
                async with open_page(browser, url, viewport={"width": WIDTH, "height": 1_000}) as (page, complaints):
                    await _draw_one(page, board, {"from": answers["from"], "to": answers["to"]}, answers["boards"][uid])
                for text in complaints.texts:
                    if "404" not in text:  # Grafana's fonts are not in its packages
                        print(f"    {text}", file=sys.stderr)


async def _draw_one(page: Page, board: dict[str, Any], span: dict[str, float], answers: dict[str, Any]) -> None:
    await page.evaluate("given => window.draw(...given)", [board, answers, span, WIDTH])
    await page.wait_for_timeout(DRAWN_AFTER_MS)
    height = await page.evaluate("document.documentElement.scrollHeight")
    await page.set_viewport_size({"width": WIDTH, "height": height})  # what is out of sight is not drawn
    await page.wait_for_timeout(DRAWN_AFTER_MS)
    await page.screenshot(path=WORKSHOP / f"{board['uid']}.png")


def shrink() -> None:
    """Put the pictures where they belong, with fewer colours."""
    for uid in dashboards():
        file = ROOT / "docs" / "pictures" / f"{uid}.png"
        _npm("run", "--silent", "shrink", f"{uid}.png", str(file))
        print(f"{file.relative_to(ROOT)}: {file.stat().st_size // 1_000} kB")


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the dashboards.", allow_abbrev=False)
    parser.add_argument("--again", action="store_true", help="play nothing: draw what Prometheus answered the last time")
    again = parser.parse_args().again
    WORKSHOP.mkdir(parents=True, exist_ok=True)
    page_directory = bundle()
    if not again:
        ANSWERS.write_text(json.dumps(played()), encoding="utf-8")
    asyncio.run(draw(page_directory, json.loads(ANSWERS.read_text(encoding="utf-8"))))
    shrink()


if __name__ == "__main__":
    main()
