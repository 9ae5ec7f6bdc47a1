"""
The product: Binance's public market data into governed Kafka topics.

    uv run python -m k2.ingestion.binance_client --symbols BTCUSDT ETHUSDT BNBUSDT \\
        --kafka-bootstrap localhost:9092 --schema-registry http://localhost:8081

The heartbeat of the connection (a ping every 3 minutes, and sooner when nothing was heard) lives in `adapters/feed/feed.py`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from k2.errors import EXIT_FATAL, EXIT_OK, ConfigurationError, FatalError, K2Error
from k2.ingestion.adapters.logs import configure_logging, get_logger, masked, register_secret
from k2.ingestion.background import install_signals
from k2.ingestion.described import describe
from k2.ingestion.service import Service
from k2.ingestion.settings import Settings, load_settings
from k2.threads import DaemonThreads


def main(argv: Sequence[str] | None = None, environ: Mapping[str, str] | None = None) -> int:
    """Run the client. Returns the exit code: 0 drained, 2 configuration, 69 unavailable, 70 fatal."""
    given = sys.argv[1:] if argv is None else argv
    variables = os.environ if environ is None else environ
    try:
        settings = load_settings(given, variables)
        if settings.print_config:
            print(describe(settings))  # noqa: T201 - what was asked for
            return EXIT_OK
        close_logs = _configure_logs(settings)
    except ConfigurationError as error:
        return _refuse(error)
    try:
        return asyncio.run(_run(settings, partial(load_settings, given, variables)))
    except KeyboardInterrupt:
        return EXIT_OK
    finally:
        close_logs()


def _refuse(error: ConfigurationError) -> int:
    for fault in error.faults:
        print(f"binance_client: {fault}", file=sys.stderr)  # noqa: T201 - logging is not configured yet
    return error.exit_code


def _configure_logs(settings: Settings) -> Callable[[], None]:
    for secret in settings.secrets():
        register_secret(secret)
    logs = settings.logs
    return configure_logging(level=logs.level, log_format=logs.format, log_file=logs.file)


async def _run(settings: Settings, reread: Callable[[], Settings]) -> int:
    asyncio.get_running_loop().set_default_executor(DaemonThreads())
    log = get_logger("k2.client")
    feed = settings.feed
    log.info(
        "Starting", symbols=list(feed.symbols), market=feed.market, streams=list(feed.streams), profile=settings.profile,
        topics=[plan.name for plan in settings.topics],
    )  # fmt: skip
    for note in settings.notes:
        log.warning("Settings", detail=note)
    try:
        service = Service(settings, reread=reread)
        install_signals(service)
        await service.run()
    except K2Error as error:
        return _end(error, error.exit_code)
    except Exception as defect:
        log.critical("Unexpected error", exc_info=defect)
        return _end(FatalError(f"unexpected {type(defect).__name__}: {defect}; please report this with the log"), EXIT_FATAL)
    return EXIT_OK


def _end(error: K2Error, exit_code: int) -> int:
    get_logger("k2.client").critical("Stopped", error=str(error), exit_code=exit_code)
    print(masked(f"binance_client: {error}"), file=sys.stderr)  # noqa: T201 - the one line for whoever started us
    return exit_code


if __name__ == "__main__":
    sys.exit(main())
