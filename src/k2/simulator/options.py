"""How a simulated exchange behaves. The defaults are the real exchange's spot limits."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Literal

from msgspec import Struct

from k2.simulator.protocol import ErrorShape

if TYPE_CHECKING:
    from k2.simulator.market import Venue

Start = Literal["subscribed", "at_once", "called"]


class ExchangeOptions(Struct, frozen=True, kw_only=True):
    """
    What may be set.

    Args:
        port: 0 for any free one.
        start: When the market begins: with the first subscription, with the server, or with `Exchange.begin()`. None leaves it to
            the market.
        ping_interval_s: How often the server pings; None for never.
        pong_timeout_s: A ping without its pong for this long closes the connection.
        messages_per_s: What a client may send, pings and pongs included; None for as much as it likes.
        lifetime_s: Age at which a connection is closed.
        error_shape: "nested" as on the wire, or "bare" as in the exchange's documentation.
        compression: Agree to permessage-deflate where a client offers it.
        backlog_bytes: A client that lets more than this pile up is cut off, unless the market waits for its readers.
        legacy_is_public: On the futures paths without prefix deliver public streams only, as the exchange's own hosts do.
        weight_per_minute: What REST allows; None for the exchange's own limit.
        tls: Serve wss:// and https:// with this.
    """

    host: str = "127.0.0.1"
    port: int = 0
    start: Start | None = None
    ping_interval_s: float | None = 20.0
    pong_timeout_s: float = 60.0
    messages_per_s: int | None = 5
    max_streams: int = 1_024
    lifetime_s: float = 86_400.0
    error_shape: ErrorShape = "nested"
    compression: bool = True
    backlog_bytes: int = 32 * 1024 * 1024
    close_timeout_s: float = 2.0
    legacy_is_public: bool = False
    weight_per_minute: int | None = None
    tls: ssl.SSLContext | None = None


USDM_OPTIONS = ExchangeOptions(ping_interval_s=180.0, pong_timeout_s=600.0, messages_per_s=10)


def options_for(venue: Venue) -> ExchangeOptions:
    """The exchange's own limits, which differ between its markets."""
    return USDM_OPTIONS if venue == "usdm" else ExchangeOptions()
