"""Which market and stream a topic carries: as the options say, else its own records, else the recording."""

from __future__ import annotations

from collections.abc import Mapping

from k2.audit.oracle import MARKETS, STREAMS
from k2.errors import ConfigurationError

EXCHANGE = "binance"


def carried(
    asked: tuple[str | None, str | None], identity: str | None, recorded_market: str, recorded: Mapping[str, int]
) -> tuple[str, str]:
    """
    Market and stream.

    Args:
        asked: Those that the options name.
        identity: The first message_id that the topic has, if any.
        recorded_market: What the recording is of. `usdm` is certain, `spot` only likely: it has no sign of its own.
        recorded: How many frames of each kind of stream it holds.

    Raises:
        ConfigurationError: nothing tells, or the recording is of another market, or there is no audit for what is carried.
    """
    asked_market, asked_stream = asked
    told_market, told_stream = _told_by(identity)
    market = asked_market or told_market or recorded_market
    stream = asked_stream or told_stream or _only_stream(recorded)
    if stream is None:
        raise ConfigurationError("the topic holds no record that tells what it carries; name it with --market and --stream")
    if market not in MARKETS or stream not in STREAMS:
        raise ConfigurationError(
            f"the topic carries {identity}, and an audit is for {' and '.join(STREAMS)} of {' and '.join(MARKETS)} only"
        )
    if asked_market is None and recorded_market == "usdm" != market:
        raise ConfigurationError(f"the topic carries the market {market}, and the recording is of usdm; --market overrides this")
    return market, stream


def _told_by(identity: str | None) -> tuple[str | None, str | None]:
    exchange, market, stream, *_ = (identity or "..").split(".")
    return (market, stream) if exchange == EXCHANGE else (None, None)


def _only_stream(recorded: Mapping[str, int]) -> str | None:
    held = [stream for stream in STREAMS if recorded.get(stream)]
    return held[0] if len(held) == 1 else None
