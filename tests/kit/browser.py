"""A real browser without a window, for the pages that the client serves."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from playwright.async_api import async_playwright

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from playwright.async_api import Browser, ConsoleMessage, Page

PROGRAM = "chromium"
EXECUTABLE = "/usr/bin/chromium"
ARGUMENTS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


@asynccontextmanager
async def open_browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=EXECUTABLE, args=list(ARGUMENTS))
        try:
            yield browser
        finally:
            await browser.close()


class Complaints:
    """What a page's console reports as wrong, breaches of its policy among them, and which addresses it asked."""

    def __init__(self, page: Page) -> None:
        self.texts: list[str] = []
        self.asked: set[str] = set()
        page.on("console", self._take)
        page.on("pageerror", lambda error: self.texts.append(str(error)))
        page.on("request", lambda request: self.asked.add(request.url))

    def _take(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.texts.append(message.text)


@asynccontextmanager
async def open_page(browser: Browser, url: str, **options: Any) -> AsyncIterator[tuple[Page, Complaints]]:
    """A page of its own, as for a new visitor; `options` are those of a browser context: viewport, color_scheme, …"""
    context = await browser.new_context(**options)
    page = await context.new_page()
    complaints = Complaints(page)
    try:
        await page.goto(url)
        yield page, complaints
    finally:
        await context.close()
