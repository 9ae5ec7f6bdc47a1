"""
The part of librdkafka's statistics that we look at.

Source: librdkafka STATISTICS.md; `tx` counts requests, `batchcnt` and `batchsize` are rolling windows a topic.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct, field


class _BrokerStatistics(Struct):
    nodeid: int = -1
    state: str = ""
    tx: int = 0


class _Window(Struct):
    avg: float = 0


class _TopicStatistics(Struct):
    batchcnt: _Window = field(default_factory=_Window)
    batchsize: _Window = field(default_factory=_Window)


class ProducerStatistics(Struct):
    """The part of librdkafka's statistics that we export. Source: librdkafka STATISTICS.md."""

    brokers: dict[str, _BrokerStatistics] = {}
    topics: dict[str, _TopicStatistics] = {}
    tx: int = 0
    msg_cnt: int = 0
    msg_size: int = 0

    @property
    def any_broker_up(self) -> bool:
        return any(broker.state == "UP" and broker.nodeid >= 0 for broker in self.brokers.values())


def read_statistics(text: str) -> ProducerStatistics:
    """Decode what librdkafka hands to `stats_cb`; what we do not name is skipped."""
    return msgspec.json.decode(text, type=ProducerStatistics)
