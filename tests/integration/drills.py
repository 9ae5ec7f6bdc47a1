"""The faults of the live alert tests, as a table: how each is made, which alerts it sets off, and how it is put right."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from integration.live import Instance, Instances, Live
from integration.support import SYMBOLS
from k2.simulator.faults import Clear, Close, Garbage, Refuse, Silence, Skip
from kit.disks import SmallDisk
from kit.ports import free_port
from kit.relay import Relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kit.kafka import KafkaBroker
    from kit.registry import SchemaRegistry

    Act = Callable[["Scene"], None]


def alerts(*names: str) -> frozenset[str]:
    """Alerts without their common prefix."""
    return frozenset(f"Binance{name}" for name in names)


STREAMS = tuple(f"{symbol.lower()}@aggTrade" for symbol in SYMBOLS)
# What a busy machine may add by itself: a client that comes up slowly, and records that take half a second.
BUSY_MACHINE = alerts("ClientAbsent", "LatencyFastBurn", "LatencySlowBurn")
# What a start that takes some seconds may set off when a minute is two seconds.
START = alerts("Disconnected", "KafkaUnreachable", "SchemaRegistryUnreachable")
GAP = alerts("SequenceGap")
RETRY_SOON = ("--reconnect-delay-min", 2, "--reconnect-delay-max", 2)


@dataclass(frozen=True)
class Scene:
    """What a drill has at hand: its client and exchange, and the parts that it may break."""

    instance: Instance
    broker: KafkaBroker  # of this drill alone where it needs one
    relay: Relay  # the way of this drill's client to the registry
    disk: SmallDisk  # on which this drill's client keeps dead letters

    def inject(self, *faults: Any) -> None:
        self.instance.exchange.inject(*faults)


@dataclass(frozen=True)
class Drill:
    """
    One fault.

    Args:
        fires: The alerts that it must set off. No others may fire but `leaves` and `may_fire`.
        strike: Makes the fault.
        clear: Puts it right.
        leaves: Alerts that must fire in the end, for what was missed meanwhile.
        may_fire: Alerts that depend on how fast this machine is.
        silenced: Those that reach nobody because another one tells the cause.
        keep: Done again and again from the strike to the clearing.
        flags: Options of the client.
        needs: Which part of the scene the client is started on: "broker", "relay", "disk" or none.
    """

    name: str
    fires: frozenset[str]
    strike: Act
    clear: Act
    leaves: frozenset[str] = frozenset()
    may_fire: frozenset[str] = frozenset()
    silenced: frozenset[str] = frozenset()
    keep: Act | None = None
    keep_every_s: float = 0.25
    flags: tuple[object, ...] = ()
    needs: str = ""

    def __str__(self) -> str:
        return self.name


def clear_exchange(scene: Scene) -> None:
    scene.inject(Clear())


def nothing(scene: Scene) -> None:
    """The fault lies in the past, or ends with its repetition."""


def refuse(scene: Scene) -> None:
    scene.inject(Refuse(status=503), Close())


def limit(scene: Scene) -> None:
    scene.inject(Refuse(status=429, retry_after_s=2), Close())


def limit_once(scene: Scene) -> None:
    scene.inject(Refuse(status=429, retry_after_s=2, count=1), Close())


def fall_silent(scene: Scene) -> None:
    """No stream brings anything, but the connection lives and pings are answered."""
    scene.inject(Silence(streams=STREAMS))


def silence_one(scene: Scene) -> None:
    scene.inject(Silence(streams=STREAMS[1:2]))


def malform(scene: Scene) -> None:
    """A tenth of a second's worth of frames that are no JSON."""
    scene.inject(Garbage(frames=tuple(b'{"broken":%d' % number for number in range(4))))


def skip(scene: Scene) -> None:
    scene.inject(Skip("ETHUSDT", count=7))


def add_a_field(scene: Scene) -> None:
    """The exchange sends a trade with one field more than it used to."""
    now_ms = int(time.time() * 1_000)
    event = {"e": "aggTrade", "E": now_ms, "s": "BTCUSDT", "a": 1, "p": "1.00", "q": "1.00", "f": 1, "l": 1, "T": now_ms}
    frame = {"stream": STREAMS[0], "data": {**event, "m": False, "M": True, "surprise": 1}}
    scene.inject(Garbage(frames=(json.dumps(frame).encode(),)))


def drop(scene: Scene) -> None:
    scene.inject(Close())


def kill(scene: Scene) -> None:
    scene.instance.client.kill()
    scene.instance.client.wait()


def start(scene: Scene) -> None:
    scene.instance.start()


def crash_and_start(scene: Scene) -> None:
    """As a supervisor does with a client that keeps crashing, once it was scraped."""
    scene.instance.client.get("/metrics")
    time.sleep(1.0)
    kill(scene)
    start(scene)


def freeze_broker(scene: Scene) -> None:
    scene.broker.pause()


def thaw_broker(scene: Scene) -> None:
    scene.broker.resume()


def refuse_records(scene: Scene) -> None:
    """The topic takes no record of any size that we send, until one has become a dead letter."""
    topic = scene.instance.rig.topic
    scene.broker.set_topic(topic, "max.message.bytes", "20")
    scene.instance.client.wait_for_metric("k2_records_dead_lettered_total", 1, origin="stream")
    scene.broker.set_topic(topic, "max.message.bytes", "1048588")


def fill_disk(scene: Scene) -> None:
    """No room is left, and there is something to write."""
    client = scene.instance.client
    scene.disk.fill(client)
    malform(scene)


def free_disk(scene: Scene) -> None:
    scene.disk.free(scene.instance.client)


def lose_registry_and_pins(scene: Scene) -> None:
    """A first start: the registry does not answer, and the state directory knows no schema id. It is waited for all the same."""
    client = scene.instance.client
    client.stopped()
    for file in client.home.rglob("schema-pins.json"):
        file.unlink()
    scene.relay.cut()
    scene.instance.start("--startup-timeout", 600)


def lose_registry(scene: Scene) -> None:
    """The registry is away while a client that has run before is started again."""
    scene.instance.client.stopped()
    scene.relay.cut()
    scene.instance.start()


def mend_registry(scene: Scene) -> None:
    scene.relay.mend()


def ask_for_the_unknown(scene: Scene) -> None:
    scene.instance.restart("--symbols", *SYMBOLS, "NOSUCHUSDT", "--rest-url", scene.instance.exchange.rest_url)


def restart(scene: Scene) -> None:
    scene.instance.restart()


DRILLS = (
    Drill("exchange refuses", alerts("Disconnected"), refuse, clear_exchange, leaves=GAP, may_fire=alerts("ReconnectStorm"),
          silenced=alerts("ReconnectStorm"), flags=RETRY_SOON),
    Drill("exchange limits", alerts("AccessRefused", "Disconnected"), limit, clear_exchange, leaves=GAP,
          may_fire=alerts("ReconnectStorm"), silenced=alerts("Disconnected", "ReconnectStorm"), flags=RETRY_SOON),
    Drill("exchange limits once", alerts("AccessRefused"), limit_once, nothing, leaves=GAP, flags=RETRY_SOON),
    Drill("exchange silent", alerts("NoMessages"), fall_silent, clear_exchange, leaves=GAP,
          may_fire=alerts("StreamSilent", "Disconnected")),
    Drill("stream silent", alerts("StreamSilent"), silence_one, clear_exchange, leaves=GAP, flags=("--silence-timeout", 2)),
    Drill("connection drops", alerts("ReconnectStorm"), drop, nothing, keep=drop, keep_every_s=1.0, leaves=GAP,
          flags=("--reconnect-delay-min", 0.1, "--reconnect-delay-max", 0.1)),
    Drill("stream malformed", alerts("HighErrorRate", "DeadLettersGrowing"), malform, nothing, keep=malform),
    Drill("trades missing", GAP, skip, nothing),
    Drill("field added", alerts("SchemaDrift"), add_a_field, restart, may_fire=START),
    Drill("symbol unknown", alerts("UnknownSymbols"), ask_for_the_unknown, restart, may_fire=START),
    Drill("client killed", alerts("ClientAbsent"), kill, start, may_fire=START),
    Drill("client crashes", alerts("RestartLoop"), crash_and_start, nothing, keep=crash_and_start, may_fire=START),
    Drill("registry away", alerts("SchemaRegistryUnreachable", "Disconnected"), lose_registry_and_pins, mend_registry,
          silenced=alerts("Disconnected"), may_fire=START, needs="relay"),
    Drill("registry away, id known", alerts("SchemaPinned"), lose_registry, mend_registry, may_fire=START, needs="relay"),
    Drill("disk full", alerts("DeadLettersNotWritable", "DirectoryAlmostFull"), fill_disk, free_disk,
          may_fire=alerts("DirectoryFullSoon"), silenced=alerts("DirectoryFullSoon"), needs="disk"),
    Drill("broker frozen", alerts("DeliveryFailing", "KafkaUnreachable", "QueueNearlyFull", "ReadingPaused"), freeze_broker,
          thaw_broker, may_fire=alerts("QueueFullSoon", "NoMessages", "Disconnected", "SequenceGap"), needs="broker",
          silenced=alerts("QueueNearlyFull", "ReadingPaused", "QueueFullSoon", "NoMessages", "Disconnected"),
          flags=("--queue-messages", 600)),
    Drill("record refused", alerts("RecordsRefused"), refuse_records, nothing),
)  # fmt: skip


@contextmanager
def eventful(kafka: KafkaBroker, registry: SchemaRegistry, directory: Path) -> Iterator[Live]:
    """
    Prometheus over a client under traffic that has been through a fault of each kind, and over one that waits for its broker.

    So every panel has something to show. The first of `instances` is the one under traffic; its unknown field keeps an alert
    firing.
    """
    with Instances(kafka, registry, directory) as instances:
        busy = instances.add("busy", flags=("--reconnect-delay-min", 0.1))
        waiting = instances.add("waiting", flags=("--kafka-bootstrap", f"127.0.0.1:{free_port()}", "--startup-timeout", 600))
        busy.client.wait_for_produced(10)
        with Live(busy, waiting) as live:
            live.wait_until_scraped()
            scene = Scene(busy, kafka, Relay(registry.url), SmallDisk(directory / "disk"))
            for strike in (skip, malform, add_a_field, limit_once, refuse_records):
                strike(scene)
            busy.client.wait_for_metric("binance_reconnections_total", 1)
            live.wait_for("BinanceSchemaDrift", busy, "firing")
            live.wait_for("BinanceRecordsRefused", busy, "firing")
            yield live
