"""The status page of a real client, between a simulated exchange and a real Kafka, in a real browser."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any

from playwright.async_api import Page, expect

from integration.support import SYMBOLS, Rig, RunningClient, RunningExchange, generated, wait_until
from k2.simulator.faults import Garbage, Skip
from kit.browser import PROGRAM, open_browser, open_page
from kit.tools import needs

if TYPE_CHECKING:
    from playwright.async_api import Browser

pytestmark = needs(PROGRAM)

PATIENCE_MS = 30_000
COUNT, RATE = 6_000, 600
BROKEN = ("not_json", "missing_price")
SKIPPED = 7


def number(text: str) -> int:
    return int(re.sub(r"\D", "", text))


async def equation(page: Page, selector: str) -> list[int]:
    return [number(text) for text in await page.locator(f"{selector} b").all_text_contents()]


async def rows(page: Page) -> dict[str, list[str]]:
    found: list[list[str]] = await page.locator("#streams tr").evaluate_all(
        "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
    )
    return {name: cells for name, *cells in found}


async def pairs(page: Page, selector: str) -> dict[str, str]:
    names = await page.locator(f"{selector} dt").all_text_contents()
    return dict(zip(names, await page.locator(f"{selector} dd").all_text_contents(), strict=True))


def at_rest(rig: Rig) -> tuple[RunningClient, RunningExchange, dict[str, Any]]:
    """A client whose market has ended, with dead letters and a gap, and its health: nothing moves any more."""
    exchange = rig.exchange(generated(RATE, count=COUNT))
    client = rig.client(exchange.ws_url)
    client.wait_for_produced(1)
    exchange.inject(Skip(symbol=SYMBOLS[0], count=SKIPPED), Garbage(names=BROKEN))

    def settled() -> dict[str, Any] | None:
        _, health = client.get_json("/health")
        books, letters = health["balance"], health["dead_letters"]
        rests = books["received"] == exchange.sent + exchange.garbage_sent and not books["in_flight"]
        return health if rests and books["received"] >= COUNT - SKIPPED and letters["written"] == len(BROKEN) else None

    return client, exchange, wait_until(settled, "the end of the market", 60)


async def test_the_page_of_a_running_client(rig: Rig) -> None:
    """What it shows is what `/health` says, with no error in the console; it says when the client ends, and when it is back."""
    client, exchange, health = await asyncio.to_thread(at_rest, rig)
    async with open_browser() as browser:
        await _says_what_health_says(browser, client, health)
        await _follows_the_clients_fate(browser, rig, client, exchange)


async def _says_what_health_says(browser: Browser, client: RunningClient, health: dict[str, Any]) -> None:
    url = f"http://127.0.0.1:{client.port}"
    async with open_page(browser, url) as (page, complaints):
        await expect(page.locator("#status")).to_have_text(health["status"], timeout=PATIENCE_MS)
        books = health["balance"]
        assert await equation(page, "#events") == [books[name] for name in ("received", "published", "dead_lettered", "ignored")]
        assert await equation(page, "#records") == [
            books[name] for name in ("records", "delivered", "dead_lettered_records", "spooled", "in_flight")
        ]
        assert await page.locator(".equation em").all_text_contents() == ["✓ balances"] * 2
        shown = await rows(page)
        assert {name: number(cells[1]) for name, cells in shown.items()} == {
            row["stream"]: row["published"] for row in health["streams"]
        }
        assert shown[f"{SYMBOLS[0].lower()}@aggTrade"][3] == f"{SKIPPED} in 1 gap"
        letters, versions = await pairs(page, "#letters"), await pairs(page, "#versions")
        assert {name: number(letters[name]) for name in health["dead_letters"]["by_reason"]} == health["dead_letters"][
            "by_reason"
        ]
        assert [versions[name] for name in ("k2", "librdkafka", "fingerprint")] == [
            health["versions"]["k2"], health["versions"]["librdkafka"], health["schema"]["fingerprint"],
        ]  # fmt: skip
        assert versions["subject"] == health["schema"]["subject"]
        assert complaints.texts == []
        assert complaints.asked == {f"{url}/", f"{url}/health"}


async def _follows_the_clients_fate(browser: Browser, rig: Rig, client: RunningClient, exchange: RunningExchange) -> None:
    async with open_page(browser, f"http://127.0.0.1:{client.port}") as (page, _):
        await expect(page.locator("#streams tr")).to_have_count(len(SYMBOLS), timeout=PATIENCE_MS)
        sheet = await asyncio.to_thread(client.stopped)
        await expect(page.locator("#stale")).to_be_visible(timeout=PATIENCE_MS)
        assert await equation(page, "#events") == [sheet[name] for name in ("received", "published", "dead_lettered", "ignored")]
        await asyncio.to_thread(rig.client, exchange.ws_url, "--http-port", client.port)
        await expect(page.locator("#stale")).to_be_hidden(timeout=PATIENCE_MS)
        await expect(page.locator("#events b").first).to_have_text("0", timeout=PATIENCE_MS)


async def test_rates_of_a_market_that_runs(rig: Rig) -> None:
    """Events a second and those of each stream are near the rate that the exchange sends at."""
    exchange = rig.exchange(generated(300))
    client = await asyncio.to_thread(rig.client, exchange.ws_url)
    await asyncio.to_thread(client.wait_for_produced, 300)
    async with open_browser() as browser, open_page(browser, f"http://127.0.0.1:{client.port}") as (page, complaints):
        await expect(page.locator("#rate")).to_have_text(re.compile(r"^\d{3}$"), timeout=PATIENCE_MS)
        shown = await rows(page)
        rate = number(await page.locator("#rate").inner_text())
        assert 150 < rate < 450
        assert abs(sum(float(cells[0].replace(",", "")) for cells in shown.values()) - rate) <= len(SYMBOLS) + 1
        assert all(re.fullmatch(r"\d\.\d s ago", cells[2]) for cells in shown.values())
        assert complaints.texts == []
