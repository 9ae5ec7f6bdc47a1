"""
The client as a part of another program: in a thread of its own, in the caller's event loop, or in the foreground.

    from k2.ingestion import BinanceClient

    client = BinanceClient(symbols=["BTCUSDT"], kafka_bootstrap="localhost:9092")
    client.start_in_background()
    ...
    client.get_metrics()["messages_processed"]
    client.stop()

It is the same client as `python -m k2.ingestion.binance_client`, with the same options, guarantees and endpoints.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Self

from k2.errors import FatalError, K2Error
from k2.ingestion.adapters.logs import register_secret
from k2.ingestion.background import install_signals
from k2.ingestion.keywords import read_keywords
from k2.ingestion.service import NOT_STARTED, Service
from k2.ingestion.service_metrics import NOTHING_YET, service_metrics
from k2.ingestion.settings import Settings, settings_of
from k2.threads import DaemonThreads

READ_AGAIN_TIMES = 10
RUNS_ONCE = "a BinanceClient runs once: make another one"


class BinanceClient:
    """
    One client; it runs once.

    Args:
        settings: Options of the command line by their names with underscores (`kafka_bootstrap`, `streams`, `profile`, ...).
            Lists may be lists, switches may be booleans, and everything may be the text that the flag takes. They beat
            the environment, which beats the defaults.
        environ: Where variables and secrets are read from; the process's own environment where None.

    Raises:
        ConfigurationError: with every fault found, an unknown option among them.
    """

    def __init__(self, environ: Mapping[str, str] | None = None, **settings: Any) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        self._given = settings
        self.settings = self._read()
        for secret in self.settings.secrets():
            register_secret(secret)
        self._lock = threading.Lock()
        self._service: Service | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._stop_asked = False
        self.error: K2Error | None = None

    def _read(self) -> Settings:
        return settings_of(read_keywords(self._given, self._environ), self._environ)

    def __enter__(self) -> Self:
        self.start_in_background()
        return self

    def __exit__(self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def run(self) -> None:
        """
        Stream until SIGTERM, SIGINT or `stop`, then deliver what is left. Blocks; SIGHUP reloads.

        Raises:
            UnavailableError: broker or registry did not come in time.
            FatalError: a state in which running on would make things worse.
        """
        asyncio.run(self._serve(signals=threading.current_thread() is threading.main_thread(), own_loop=True))

    async def run_async(self) -> None:
        """The same in the caller's event loop. Cancelling it, or `stop`, ends it in order."""
        await self._serve(signals=False, own_loop=False)

    def start_in_background(self) -> threading.Thread:
        """
        Stream in a thread of its own until `stop`. What ends it otherwise is in `error`, and raised by `stop`.

        Returns:
            The thread, started. It is a daemon: call `stop` before your program ends, or what is in flight is lost.

        Raises:
            RuntimeError: the client ran already.
        """
        with self._lock:
            self._refuse_twice()
            self._thread = threading.Thread(target=self._run_quietly, name="k2-binance-client", daemon=True)
        self._thread.start()
        return self._thread

    def stop(self, timeout_s: float | None = None) -> None:
        """
        Ask for the orderly end, and wait for it where the client runs in the background. May be called from any thread.

        Args:
            timeout_s: How long to wait at most; None for as long as the shutdown timeout allows it to take.

        Raises:
            K2Error: what ended the client in the background before it was asked to.
        """
        with self._lock:
            self._stop_asked = True
            if self._loop is not None and self._service is not None:
                self._loop.call_soon_threadsafe(self._service.stop)
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)
        if self.error is not None:
            raise self.error

    def reload(self) -> None:
        """Read the options anew (a profile's file may have changed) and go over to the streams that they want then."""
        with self._lock:
            if self._loop is not None and self._service is not None:
                self._loop.call_soon_threadsafe(self._service.reload)

    def get_metrics(self) -> dict[str, Any]:
        """Counts since the start: see `service_metrics`. From any thread, at any time."""
        readings = self._service.readings if self._service is not None else None
        return dict(NOTHING_YET) if readings is None else _steadily(lambda: service_metrics(readings))

    def get_health(self) -> dict[str, Any]:
        """What `/health` says."""
        service = self._service
        return dict(NOT_STARTED) if service is None else _steadily(service.health)

    def _refuse_twice(self) -> None:
        if self._service is not None or self._thread is not None:
            raise RuntimeError(RUNS_ONCE)

    def _run_quietly(self) -> None:
        try:
            asyncio.run(self._serve(signals=False, own_loop=True))
        except K2Error as error:
            self.error = error
        except Exception as defect:  # noqa: BLE001 - a thread must not end without a word
            self.error = FatalError(f"unexpected {type(defect).__name__}: {defect}; please report this")

    async def _serve(self, *, signals: bool, own_loop: bool) -> None:
        loop = asyncio.get_running_loop()
        if own_loop:
            loop.set_default_executor(DaemonThreads())
        service = Service(self.settings, reread=self._read)
        with self._lock:
            if self._service is not None:
                raise RuntimeError(RUNS_ONCE)
            self._service, self._loop = service, loop
            if self._stop_asked:
                service.stop()
        if signals:
            install_signals(service)
        try:
            await service.run()
        finally:
            with self._lock:
                self._loop = None


def _steadily(read: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What is read from another thread, once more where something grew meanwhile."""
    for _ in range(READ_AGAIN_TIMES):
        try:
            return read()
        except RuntimeError:  # a dict or a set changed its size during the reading
            continue
    return read()
