"""The status page in a real browser, served by the client's own HTTP server over answers that the test gives."""

from __future__ import annotations

import base64
import hashlib
import re
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession
from playwright.async_api import Page, expect

from k2.ingestion.adapters.status_page import load_status_page, policy_for
from kit.browser import PROGRAM, open_browser, open_page
from kit.tools import needs
from unit.scripted_health import BALANCE, EXTRA, STREAMS, ScriptedClient, later, report, stream

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser

    from k2.ingestion.core.health import HealthReport

pytestmark = [needs(PROGRAM), pytest.mark.asyncio(loop_scope="module")]

PATIENCE_MS = 15_000
MOST_BYTES = 20_000
PHONE = {"width": 360, "height": 740}
LEAST_CONTRAST = 4.5  # WCAG 2.2, level AA, for text of ordinary size
HOSTILE = "<img src=x onerror=document.title='broken'><script>document.title='broken'</script>"
NOT_LOADED = "Failed to load resource"  # how the browser's console calls a 503, and a client that is away

# The contrast of every text against what lies behind it, the worst first. Takes the colours as the browser has computed them.
CONTRASTS = """() => {
  const channel = (value) => (value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (node) => {
    for (; node; node = node.parentElement) {
      const colour = parts(getComputedStyle(node).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT), found = [];
  while (texts.nextNode()) {
    const node = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || !node.checkVisibility() || node.closest("script, noscript")) continue;
    const [a, b] = [light(parts(getComputedStyle(node).color)), light(behind(node))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), texts.currentNode.data.trim()]);
  }
  return found.sort((x, y) => x[0] - y[0]);
}"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with open_browser() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def client() -> AsyncIterator[ScriptedClient]:
    client = await ScriptedClient(report()).start()
    yield client
    await client.stop()


def steady() -> list[HealthReport]:
    """Answers that tell 600 events a second for longer than a test waits, so that a page looked at late shows it still."""
    return [later(4.0 * number, 2_400 * number, (1_600 * number, 798 * number, 2 * number)) for number in range(60)]


async def text_of(page: Page, selector: str) -> str:
    return " ".join((await page.locator(selector).inner_text()).split())


async def rows_of(page: Page) -> list[list[str]]:
    rows: list[list[str]] = await page.locator("#streams tr").evaluate_all(
        "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
    )
    return rows


async def pairs_of(page: Page, selector: str) -> dict[str, str]:
    names = await page.locator(f"{selector} dt").all_text_contents()
    return dict(zip(names, await page.locator(f"{selector} dd").all_text_contents(), strict=True))


async def wait_for(page: Page, selector: str, told: str | re.Pattern[str]) -> None:
    await expect(page.locator(selector)).to_have_text(told, timeout=PATIENCE_MS)


class TestHeaders:
    async def test_the_browser_is_bound_to_what_is_in_the_page(self, client: ScriptedClient) -> None:
        """Exactly our script and our style run, nothing but our own port is asked, and nobody frames the page or learns of it."""
        async with ClientSession() as session, session.get(f"{client.url}/") as answer:
            body, headers = await answer.read(), answer.headers
        assert (answer.status, headers["Content-Type"], headers["Cache-Control"]) == (200, "text/html; charset=utf-8", "no-store")
        assert (headers["X-Content-Type-Options"], headers["Referrer-Policy"]) == ("nosniff", "no-referrer")
        policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
        [script] = re.findall(rb"<script>(.*?)</script>", body, re.DOTALL)
        [style] = re.findall(rb"<style>(.*?)</style>", body, re.DOTALL)
        assert (policy["script-src"], policy["style-src"]) == (_hash(script), _hash(style))
        assert (policy["default-src"], policy["connect-src"], policy["frame-ancestors"]) == ("'none'", "'self'", "'none'")
        assert "unsafe" not in headers["Content-Security-Policy"]

    async def test_a_page_without_script_and_style_allows_none(self) -> None:
        """The policy is made from what is there."""
        assert "script-src 'none'; style-src 'none'" in policy_for(b"<p>text</p>")

    async def test_the_page_is_small_and_asks_nobody_else(self) -> None:
        """It is one file under 20 kB whose only addresses are links to the documents."""
        body = load_status_page().body.decode()
        assert len(body) < MOST_BYTES
        assert not re.search(r"@import|url\(|innerHTML|document\.write|\bsrc=", body)
        used = set(re.findall(r'"(https?://[^"]+)"', body))
        assert {address.partition("/blob/main/")[0] for address in used} == {"https://github.com/k2-platform/k2"}


def _hash(text: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text).digest()).decode()}'"


class TestShown:
    async def test_every_number_is_that_of_the_answer(self, browser: Browser, client: ScriptedClient) -> None:
        """Verdict, figures, both ledgers, streams, dead letters, connections and versions say what `/health` says."""
        async with open_page(browser, client.url) as (page, complaints):
            await wait_for(page, "#status", "healthy")
            assert await page.title() == "healthy - k2"
            assert await text_of(page, "#reasons") == "Connected, and everything flows."
            assert await text_of(page, "#since") == "3 symbols, up 62 min"
            figures = [
                await text_of(page, f"#{name}") for name in ("latency", "latencies", "lag", "missing", "gaps", "dead", "flight")
            ]
            assert figures == ["18.4 ms", "p50 6.5 ms, p95 12.1 ms", "42.0 ms", "37", "in 2 open gaps", "5", "7"]
            assert await text_of(page, "#events") == ("7,205 received = 7,197 published + 5 dead-lettered + 3 ignored ✓ balances")
            assert await text_of(page, "#records") == (
                "7,197 made = 7,190 delivered + 0 dead-lettered + 0 spooled + 7 in flight ✓ balances"
            )
            assert await text_of(page, "#ignored") == "Ignored: duplicate 3"
            assert await rows_of(page) == [
                ["btcusdt@aggTrade", "-", "4,000", "0.3 s ago", "none"],
                ["ethusdt@aggTrade", "-", "3,197", "75 s ago", "37 in 2 gaps"],
                ["bnbusdt@aggTrade", "-", "0", "never", "none"],
            ]
            assert await pairs_of(page, "#letters") == {
                "decode/not_json": "4", "map/timestamp_out_of_range": "1",
                "on the disk": "5", "waiting for it": "0", "writable": "yes",
            }  # fmt: skip
            assert await pairs_of(page, "#links") == {
                "state": "CONNECTED", "established": "2", "reconnections": "1", "failed attempts": "4", "ended: reset": "1",
            }  # fmt: skip
            assert await pairs_of(page, "#versions") == {
                "k2": "0.1.0", "Python": "3.11.7", "librdkafka": "2.16.0", "WebSocket": "picows",
                "subject": "market.crypto.trades.binance-value", "schema id": "1, from registry",
                "fingerprint": "0123456789abcdef",
            }  # fmt: skip
            assert complaints.texts == []
            assert complaints.asked == {f"{client.url}/", f"{client.url}/health"}

    async def test_rates_come_from_two_answers(self, browser: Browser, client: ScriptedClient) -> None:
        """Events a second, of all and of each stream, by the client's own clock between the answers."""
        client.play(*steady())
        async with open_page(browser, client.url) as (page, _):
            await wait_for(page, "#rate", "600")
            assert [row[1] for row in await rows_of(page)] == ["400", "200", "0.5"]
            curve = (await page.locator("#curve").get_attribute("points") or "").split()
            assert {point.partition(",")[2] for point in curve} == {"1"}  # as high as the picture

    async def test_a_client_that_began_anew_has_no_rate_yet(self, browser: Browser, client: ScriptedClient) -> None:
        """Counters that fell tell no rate, and never a negative one."""
        client.play(*steady())
        async with open_page(browser, client.url) as (page, _):
            await wait_for(page, "#rate", "600")
            client.play(later(1_000.0, -7_000, (-4_000, -3_197, 0), uptime_s=1.0))
            await wait_for(page, "#since", "3 symbols, up 1.0 s")
            assert await text_of(page, "#rate") == "-"
            assert {row[1] for row in await rows_of(page)} == {"-"}

    async def test_reasons_are_told_in_words(self, browser: Browser, client: ScriptedClient) -> None:
        """An unhealthy client answers 503, and the page shows the verdict and each reason all the same."""
        client.play(report(dead_letters_writable=False, unknown_symbols=("XYZUSDT",), back_pressure=True, reading="paused"))
        async with open_page(browser, client.url) as (page, complaints):
            await wait_for(page, "#status", "unhealthy")
            assert await page.locator("#reasons li").all_text_contents() == [
                "dead letters cannot be written",
                "the exchange does not know XYZUSDT",
                "reading is paused until the broker has taken what is queued",
            ]
            assert await text_of(page, "#reading") == "reading paused: Kafka is slower"
            assert not await page.locator("#stale").is_visible()
            assert all(NOT_LOADED in text for text in complaints.texts)

    @pytest.mark.parametrize(
        ("changed", "selector", "off"),
        [
            ("received", "#events", "-1"),
            ("ignored", "#events", "1"),
            ("records", "#records", "-1"),
            ("in_flight", "#records", "1"),
        ],
    )
    async def test_books_that_do_not_balance_say_so(
        self, browser: Browser, client: ScriptedClient, changed: str, selector: str, off: str
    ) -> None:
        """The page adds up by itself: one event too few anywhere is a cross with the difference."""
        client.play(report(balance={**BALANCE, changed: BALANCE[changed] - 1}))  # type: ignore[operator]  # all four are numbers
        async with open_page(browser, client.url) as (page, _):
            await wait_for(page, f"{selector} em", f"✗ off by {off}")
            other = "#records" if selector == "#events" else "#events"
            assert await text_of(page, f"{other} em") == "✓ balances"

    async def test_a_hundred_streams(self, browser: Browser, client: ScriptedClient) -> None:
        """All of them have their row, in the order of the answer, and how many are not listed is told."""
        names = [f"sym{number}usdt@aggTrade" for number in range(100)]
        client.play(report([stream(name, 1) for name in names], streams_total=107))
        async with open_page(browser, client.url) as (page, _):
            await wait_for(page, "#streams-count", "107")
            assert [row[0] for row in await rows_of(page)] == names
            assert await text_of(page, "#streams-note") == "and 7 further streams, not listed here"

    async def test_a_client_that_is_starting(self, browser: Browser, client: ScriptedClient) -> None:
        """Before anything is known the page has no holes and no nonsense."""
        nothing = {"subject": "", "id": None, "fingerprint": "", "source": "none"}
        letters = {"total": 0, "by_reason": {}, "written": 0, "pending": 0, "writable": True}
        client.play(report([], connected=False, waiting_for=("broker",), schema=nothing, dead_letters=letters,
                           latency_seconds=dict.fromkeys(("p50", "p95", "p99"), 0.0)))  # fmt: skip
        async with open_page(browser, client.url) as (page, complaints):
            await wait_for(page, "#status", "degraded")
            assert await text_of(page, "#streams-note") == "None yet: the client is starting."
            assert await text_of(page, "#latency") == "-"
            assert "none so far" in await pairs_of(page, "#letters")
            assert (await pairs_of(page, "#versions"))["schema id"] == "not known yet"
            assert not re.search(r"undefined|NaN|null", await page.locator("body").inner_text())
            assert complaints.texts == []

    async def test_what_comes_from_outside_stays_text(self, browser: Browser, client: ScriptedClient) -> None:
        """A stream's name, a reason and a code full of markup are shown letter by letter, and make no element."""
        letters = {**EXTRA["dead_letters"], "by_reason": {HOSTILE: 1}}
        client.play(report([stream(HOSTILE, 1)], held_code=HOSTILE, dead_letters=letters))
        async with open_page(browser, client.url) as (page, complaints):
            await wait_for(page, "#streams th", HOSTILE)
            assert HOSTILE in await text_of(page, "#reasons")
            assert HOSTILE in await pairs_of(page, "#letters")
            assert await page.locator("img").count() == 0
            assert await page.locator("script").count() == 1
            assert (await page.title(), complaints.texts) == ("degraded - k2", [])

    async def test_an_injected_script_would_not_run(self, browser: Browser, client: ScriptedClient) -> None:
        """Even if markup got in, the policy keeps the browser from running it: the second fence holds by itself."""
        async with open_page(browser, client.url) as (page, complaints):
            await wait_for(page, "#status", "healthy")
            await page.evaluate("markup => { document.getElementById('since').innerHTML = markup }", HOSTILE)
            await expect(page.locator("#since img")).to_have_count(1)
            await page.evaluate("() => new Promise(requestAnimationFrame)")
            assert await page.title() == "healthy - k2"
            assert any("Content Security Policy" in text for text in complaints.texts)


class TestStale:
    async def test_a_client_that_goes_away_is_told_until_it_is_back(self, browser: Browser, client: ScriptedClient) -> None:
        """A banner with the age of what is seen comes when no answer does, and goes by itself; what was known stays in sight."""
        async with open_page(browser, client.url) as (page, _):
            await wait_for(page, "#status", "healthy")
            assert not await page.locator("#stale").is_visible()
            await client.stop()
            await expect(page.locator("#stale")).to_be_visible(timeout=PATIENCE_MS)
            assert re.match(
                r"The client does not answer\. What you see is of .+\. Trying again\.", await text_of(page, "#silence")
            )
            await wait_for(page, "#age", re.compile(r"^\(([3-9]\.\d|\d{2,}) s: no connection\)$"))
            assert await page.title() == "no answer - k2"
            assert (await rows_of(page))[0][0] == "btcusdt@aggTrade"
            client.play(later(10.0, 100, (100, 0, 0)))
            await client.start()
            await expect(page.locator("#stale")).to_be_hidden(timeout=PATIENCE_MS)
            assert (await page.title(), (await rows_of(page))[0][2]) == ("healthy - k2", "4,100")

    async def test_another_server_is_not_taken_for_the_client(self, browser: Browser, client: ScriptedClient) -> None:
        """JSON without health, as a proxy may give it, is no answer."""
        async with open_page(browser, client.url) as (page, _):
            await wait_for(page, "#status", "healthy")
            await page.route("**/health", lambda route: route.fulfill(status=502, json={"error": "bad gateway"}))
            await expect(page.locator("#age")).to_contain_text("HTTP 502, and no health in it", timeout=PATIENCE_MS)


class TestLooks:
    async def test_light_and_dark(self, browser: Browser, client: ScriptedClient) -> None:
        """The page follows the reader's own setting: the ground is light in one and dark in the other, in the picture too."""
        grounds = {}
        for scheme in ("light", "dark"):
            async with open_page(browser, client.url, color_scheme=scheme) as (page, _):
                await wait_for(page, "#status", "healthy")
                ground = await page.evaluate("getComputedStyle(document.body).backgroundColor")
                assert await _corner(page) == ground
                grounds[scheme] = sum(map(int, re.findall(r"\d+", ground))) / 3
        assert grounds["light"] > 200
        assert grounds["dark"] < 60

    @pytest.mark.parametrize("scheme", ["light", "dark"])
    @pytest.mark.parametrize(
        "changes",
        [{}, {"unknown_symbols": ("XYZ",)}, {"dead_letters_writable": False}, {"balance": {**BALANCE, "received": 1}}],
        ids=["healthy", "degraded", "unhealthy", "unbalanced"],
    )
    async def test_every_text_has_contrast(
        self, browser: Browser, client: ScriptedClient, scheme: str, changes: dict[str, Any]
    ) -> None:
        """Each text stands out from what is behind it by at least 4.5 to 1, the banner of a client that is away among them."""
        client.play(report(**changes))
        async with open_page(browser, client.url, color_scheme=scheme) as (page, _):
            await expect(page.locator("#streams tr")).to_have_count(len(STREAMS), timeout=PATIENCE_MS)
            await page.locator("#stale").evaluate("node => { node.hidden = false; node.textContent = 'away' }")
            contrasts = await page.evaluate(CONTRASTS)
        assert len(contrasts) > 60
        assert contrasts[0][0] >= LEAST_CONTRAST, contrasts[:3]

    @pytest.mark.parametrize(
        "streams", [STREAMS, [stream("x" * 200, 10**12, gaps_open=999, ids_missing=10**9)]], ids=["usual", "as-wide-as-can-be"]
    )
    async def test_a_phone_needs_no_scrolling_sideways(
        self, browser: Browser, client: ScriptedClient, streams: list[dict[str, Any]]
    ) -> None:
        """At 360 pixels nothing is wider than the screen, however long a name."""
        client.play(report(streams))
        async with open_page(browser, client.url, viewport=PHONE) as (page, _):
            await expect(page.locator("#streams tr")).to_have_count(len(streams), timeout=PATIENCE_MS)
            widths = await page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
            assert widths == [PHONE["width"]] * 2
            rightmost = await page.evaluate(
                "Math.max(...[...document.querySelectorAll('main *')].map(node => node.getBoundingClientRect().right))"
            )
            assert rightmost <= PHONE["width"]

    async def test_it_can_be_heard(self, browser: Browser, client: ScriptedClient) -> None:
        """A screen reader finds a heading, regions by name, a table with headers, a status that speaks up, and an alert."""
        async with open_page(browser, client.url) as (page, _):
            await wait_for(page, "#status", "healthy")
            for role, name in (("heading", "k2 Binance client"), ("region", "Balance sheet"), ("region", "Streams 3"),
                               ("region", "Dead letters"), ("columnheader", "Last event"), ("rowheader", "btcusdt@aggTrade"),
                               ("link", "/metrics"), ("link", "/health"), ("link", "Documentation")):  # fmt: skip
                await expect(page.get_by_role(role, name=name)).to_be_visible()  # type: ignore[arg-type]  # each is a role
            await expect(page.get_by_role("status")).to_have_text("healthy")
            assert await page.locator("#stale").get_attribute("role") == "alert"
            assert await page.locator("html").get_attribute("lang") == "en"

    async def test_without_javascript_it_names_the_way(self, browser: Browser, client: ScriptedClient) -> None:
        """The page says that it needs JavaScript, and where the same is as JSON."""
        async with open_page(browser, client.url, java_script_enabled=False) as (page, _):
            assert "needs JavaScript" in await page.locator("body").inner_text()


async def _corner(page: Page) -> str:
    """The colour at the left edge of the picture of the page, as CSS writes it."""
    picture = await page.screenshot(clip={"x": 1, "y": 1, "width": 1, "height": 1})
    colour: str = await page.evaluate(
        """async (data) => {
          const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(data), (c) => c.charCodeAt(0))]));
          const canvas = new OffscreenCanvas(1, 1).getContext("2d");
          canvas.drawImage(bitmap, 0, 0);
          return `rgb(${[...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).join(", ")})`;
        }""",
        base64.b64encode(picture).decode(),
    )
    return colour
