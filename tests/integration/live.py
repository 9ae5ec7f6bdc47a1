"""The real Prometheus and Alertmanager over real clients, with the shipped rules and routes, twenty times as fast."""

from __future__ import annotations

import threading
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar

from integration.support import SYMBOLS, Rig, RunningClient, generated, wait_until
from kit.monitoring import Alertmanager, Prometheus, WebhookReceiver
from kit.ports import free_port
from kit.quickened import quickened, quickened_routing, redirected

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from kit.kafka import KafkaBroker
    from kit.registry import SchemaRegistry

T = TypeVar("T")

CONFIG = Path(__file__).parents[2] / "config" / "prometheus"
RULES, ROUTES = CONFIG / "rules" / "binance_alerts.yml", CONFIG / "alertmanager.yml"
FACTOR = 20  # a minute is three seconds: three scrapes, and a rate is still there when a busy machine misses one
# Also the time-out of a scrape, which Prometheus wants no longer than the pace. Under the second after which a drill drops its
# connection again: in step with it, every scrape would see the client disconnected.
SCRAPE_EVERY_S = 0.8
WATCHDOG = "Watchdog"
RATE = 40  # trades a second of each exchange: enough for every rate, and cheap for many clients side by side
PATIENCE_S = 120.0  # for a machine that has much else to do
HISTORY = "1h"  # longer than any run


class Instance:
    """
    One client at a port that outlives it, and the exchange that it streams from. Its topic is its own.

    Args:
        name: Also the name of its home.
        flags: Options of the client that come after the usual ones.
        command: What to start instead of the client.
    """

    def __init__(
        self,
        name: str,
        rig: Rig,
        *,
        flags: Iterable[object] = (),
        symbols: Sequence[str] = SYMBOLS,
        rate: float = RATE,
        command: Sequence[str] | None = None,
    ) -> None:
        self.name, self.rig, self.port = name, rig, free_port()
        self.symbols, self.flags = tuple(symbols), list(flags)
        self.exchange = rig.exchange(generated(rate), backlog_bytes=1 << 30)
        self._options: dict[str, Any] = {} if command is None else {"command": command}
        self.client = self._started()

    @property
    def address(self) -> str:
        """What Prometheus scrapes, and the label `instance` of all that comes from it."""
        return f"127.0.0.1:{self.port}"

    @property
    def home(self) -> Path:
        return self.client.home

    def start(self, *flags: object) -> None:
        """Start the client that ended, at the same port in the same home. `flags` are for this time only."""
        self.client = self._started(*flags)

    def restart(self, *flags: object) -> None:
        """Stop in good order, and start."""
        self.client.stopped()
        self.start(*flags)

    def _started(self, *flags: object) -> RunningClient:
        rig = self.rig
        given: list[object] = ["--symbols", *self.symbols, "--ws-url", self.exchange.ws_url, "--http-port", self.port]
        given += ["--kafka-bootstrap", rig.bootstrap, "--schema-registry", rig.registry_url, "--topic-prefix", rig.prefix]
        given += ["--partitions", 3, "--dead-letter-dir", "dlq", *self.flags, *flags]
        return rig.start(given, self.port, home=self.name, **self._options)


class Instances:
    """Makes instances on the shared broker and registry, or on others, and ends them all."""

    def __init__(self, kafka: KafkaBroker, registry: SchemaRegistry, directory: Path) -> None:
        self._kafka, self._registry, self._directory = kafka, registry, directory
        self._stack = ExitStack()

    def add(self, name: str, *, kafka: KafkaBroker | None = None, **options: Any) -> Instance:
        """Takes what `Instance` takes, and returns without waiting for the client."""
        rig = self._stack.enter_context(Rig(kafka or self._kafka, self._registry, self._directory))
        return Instance(name, rig, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()


class Told(NamedTuple):
    """What reached a receiver about an instance."""

    alert: str
    receiver: str
    status: str


class Live:
    """
    Prometheus scrapes these clients every `SCRAPE_EVERY_S` and hands alerts to Alertmanager, whose receivers all call `webhook`.

    Attributes:
        prometheus: `prometheus.query("up")` and the like.
    """

    def __init__(self, *instances: Instance) -> None:
        self.instances = instances
        self.webhook = WebhookReceiver()
        routes = quickened_routing(ROUTES.read_text(encoding="utf-8"), FACTOR)
        self.alertmanager = Alertmanager(redirected(routes, self.webhook.url))
        self.prometheus = Prometheus(
            [instance.address for instance in instances],
            rules=quickened(RULES.read_text(encoding="utf-8"), FACTOR),
            scrape_interval_s=SCRAPE_EVERY_S,
            evaluation_interval_s=SCRAPE_EVERY_S,
            alertmanager=self.alertmanager.address,
        )
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        for part in (self.webhook, self.alertmanager, self.prometheus):
            self._stack.enter_context(part)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def wait_until_scraped(self) -> None:
        """Return when every client was scraped well, and every rule was looked at."""
        wanted = [instance.address for instance in self.instances]
        wait_until(lambda: self._are_up(wanted), f"{wanted} up", PATIENCE_S)
        wait_until(lambda: all(rule["health"] == "ok" for rule in self.prometheus.rules()), "rules in good health", PATIENCE_S)

    def _are_up(self, wanted: Iterable[str]) -> bool:
        health = {target["labels"]["instance"]: target["health"] for target in self.prometheus.targets()}
        return all(health.get(address) == "up" for address in wanted)

    def value(self, expression: str) -> float | None:
        """The value of an expression that gives one series; None while it gives none, as after a scrape that failed."""
        found = self.prometheus.query(expression)
        assert len(found) < 2, f"{expression} gives {found}"
        return found[0].value if found else None

    def state(self, alert: str, instance: Instance) -> str:
        """pending, firing, or empty."""
        return next((found["state"] for found in self.prometheus.alerts(alertname=alert, instance=instance.address)), "")

    def wait_for(self, alert: str, instance: Instance, state: str) -> None:
        """Wait until Prometheus' API has the alert in this state; empty for one that is neither pending nor firing."""
        wanted = state or "gone"
        wait_until(lambda: self.state(alert, instance) == state, f"{alert} of {instance.name} {wanted}", PATIENCE_S)

    def alerts_seen(self, instance: Instance, state: str) -> set[str]:
        """The names of all alerts of this instance that have been in this state, now or before."""
        selector = f'ALERTS{{alertstate="{state}", instance="{instance.address}"}}'
        found = self.prometheus.query(f"count by (alertname) (count_over_time({selector}[{HISTORY}]))")
        return {series.labels["alertname"] for series in found}

    def told(self, instance: Instance) -> list[Told]:
        """What the receivers got about this instance, in order."""
        return [
            Told(notification.name, notification.receiver, notification.status)
            for notification in self.webhook.notifications
            if notification.labels.get("instance") == instance.address
        ]

    def wait_until_told(self, told: Told, instance: Instance, patience_s: float = PATIENCE_S) -> None:
        """Wait until this has reached its receiver."""
        wait_until(lambda: told in self.told(instance), f"{told} of {instance.name}, but {self.told(instance)}", patience_s)


class Repetition(Generic[T]):
    """Does something again and again on a thread of its own, until `stop`."""

    def __init__(self, act: Callable[[T], None], on: T, every_s: float) -> None:
        self._act, self._on, self._every_s = act, on, every_s
        self._stopping = threading.Event()
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Self:
        self._thread.start()
        return self

    def stop(self) -> None:
        """End it, and raise what it failed with. May be called again, and raises once."""
        self._stopping.set()
        self._thread.join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._every_s):
                self._act(self._on)
        except Exception as error:  # noqa: BLE001 - raised by `stop`, where somebody sees it
            self._error = error
