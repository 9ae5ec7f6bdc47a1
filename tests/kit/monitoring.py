"""
Prometheus and Alertmanager as Debian packages them, on loopback, and a receiver of what Alertmanager sends.

Mark a test that uses them with `kit.tools.needs("prometheus")` or `needs("prometheus", "prometheus-alertmanager")`.
"""

from __future__ import annotations

import http.client
import json
import threading
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self
from urllib.parse import urlencode

import yaml

from kit.ports import free_port
from kit.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

REQUEST_TIMEOUT_S = 15.0
JOB = "binance-client"
EVALUATE_EVERY_S = 0.25
# How soon new targets are taken up; the option is not in Prometheus' help, and its own 5 s would be waited for by every test.
TARGETS_TAKEN_UP_AFTER = "100ms"
# An alert that fires before Prometheus has found Alertmanager is not kept: it comes with the next repetition.
REPEAT_ALERTS_AFTER = "3s"

Labels = dict[str, str]


class Series(NamedTuple):
    """One element of a vector. A scalar has no labels."""

    labels: Labels
    value: float


class Line(NamedTuple):
    """One element of a matrix: its points as pairs of a time and a value."""

    labels: Labels
    points: list[tuple[float, float]]


class ApiError(Exception):
    """Prometheus or Alertmanager refused a request. The text is theirs."""


class MonitoringServer(Server):
    """What the two have in common: an HTTP port, `/-/ready`, and an API that speaks JSON. No proxy is ever asked."""

    def __init__(self) -> None:
        super().__init__()
        self.port = free_port()

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def request(self, method: str, path: str, body: object = None) -> Any:
        """One request, its answer parsed where it is JSON. ApiError if it is refused."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=REQUEST_TIMEOUT_S)
        try:
            data = None if body is None else json.dumps(body)
            connection.request(method, path, data, {"Content-Type": "application/json"})
            response = connection.getresponse()
            answer = response.read()
            is_json = "json" in response.headers.get("Content-Type", "")
        finally:
            connection.close()
        if response.status >= http.client.BAD_REQUEST:
            raise ApiError(f"{method} {path}: {response.status} {answer.decode(errors='replace')}")
        return json.loads(answer) if is_json and answer else answer

    def _answers(self) -> bool:
        try:
            self.request("GET", "/-/ready")
        except (OSError, http.client.HTTPException, ApiError):
            return False
        return True


class Prometheus(MonitoringServer):
    """
    Prometheus with a configuration of its own making.

    Args:
        targets: What to scrape under the job `binance-client`, as `host:port`.
        rules: The text of a rule file.
        scrape_interval_s: How often to scrape; the time-out is the same.
        evaluation_interval_s: How often rules are looked at.
        alertmanager: Where alerts go, as `host:port`.
    """

    title: ClassVar[str] = "Prometheus"

    def __init__(
        self,
        targets: Iterable[str] = (),
        *,
        rules: str = "",
        scrape_interval_s: float = EVALUATE_EVERY_S,
        evaluation_interval_s: float = EVALUATE_EVERY_S,
        alertmanager: str | None = None,
    ) -> None:
        super().__init__()
        self._intervals_ms = round(scrape_interval_s * 1_000), round(evaluation_interval_s * 1_000)
        self._alertmanager = alertmanager
        (self.directory / "rules.yml").write_text(rules or "groups: []\n", encoding="utf-8")
        self._write_config(targets)

    def set_targets(self, *targets: str) -> None:
        """Scrape these from now on; takes some seconds, for Prometheus hands on new targets every five."""
        self._write_config(targets)
        self.request("POST", "/-/reload")

    def query(self, expression: str, at_s: float | None = None) -> list[Series]:
        """What the expression gives now, or at a time. A scalar is one series without labels."""
        result = self._get("query", {"query": expression} if at_s is None else {"query": expression, "time": at_s})
        if result["resultType"] in {"scalar", "string"}:
            return [Series({}, float(result["result"][1]))]
        return [Series(element["metric"], float(element["value"][1])) for element in result["result"]]

    def query_range(self, expression: str, start_s: float, end_s: float, step_s: float) -> list[Line]:
        """What the expression gave over a time."""
        result = self._get("query_range", {"query": expression, "start": start_s, "end": end_s, "step": step_s})
        return [Line(element["metric"], [(at, float(value)) for at, value in element["values"]]) for element in result["result"]]

    def targets(self) -> list[dict[str, Any]]:
        """The active targets: `labels`, `health` (up, down or unknown), `lastError` and more."""
        targets: list[dict[str, Any]] = self._get("targets", {"state": "active"})["activeTargets"]
        return targets

    def rules(self) -> list[dict[str, Any]]:
        """All rules of all groups: `name`, `type` (alerting or recording), `query`, `health`, `lastError` and more."""
        return [rule for group in self._get("rules", {})["groups"] for rule in group["rules"]]

    def alerts(self, **labels: str) -> list[dict[str, Any]]:
        """The active alerts with these labels: `labels`, `annotations`, `state` (pending or firing), `activeAt`, `value`."""
        alerts: list[dict[str, Any]] = self._get("alerts", {})["alerts"]
        return [alert for alert in alerts if labels.items() <= alert["labels"].items()]

    def _get(self, what: str, parameters: Mapping[str, object]) -> Any:
        return self.request("GET", f"/api/v1/{what}?{urlencode(parameters)}")["data"]

    def _write_config(self, targets: Iterable[str]) -> None:
        scrape_ms, evaluation_ms = self._intervals_ms
        config: dict[str, Any] = {
            "global": {
                "scrape_interval": f"{scrape_ms}ms",
                "scrape_timeout": f"{scrape_ms}ms",
                "evaluation_interval": f"{evaluation_ms}ms",
            },
            "rule_files": ["rules.yml"],
            "scrape_configs": [{"job_name": JOB, "static_configs": [{"targets": list(targets)}]}],
        }
        if self._alertmanager:
            config["alerting"] = {"alertmanagers": [{"static_configs": [{"targets": [self._alertmanager]}]}]}
        (self.directory / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")

    def _command(self) -> list[str]:
        options = {
            "config.file": "prometheus.yml",
            "storage.tsdb.path": "data",
            "web.listen-address": self.address,
            "scrape.discovery-reload-interval": TARGETS_TAKEN_UP_AFTER,
            "rules.alert.resend-delay": REPEAT_ALERTS_AFTER,
        }
        flags = [f"--{name}={value}" for name, value in options.items()]
        return ["/usr/bin/prometheus", *flags, "--web.enable-lifecycle"]


class Alertmanager(MonitoringServer):
    """
    Alertmanager alone, without a cluster.

    Args:
        config: The text of its `alertmanager.yml`.
    """

    title: ClassVar[str] = "Alertmanager"

    def __init__(self, config: str) -> None:
        super().__init__()
        (self.directory / "alertmanager.yml").write_text(config, encoding="utf-8")

    def alerts(self, **labels: str) -> list[dict[str, Any]]:
        """
        The alerts that it holds, with these labels: `labels`, `annotations`, `receivers`, `status` and more.

        `status.state` is active or suppressed; `status.inhibitedBy` names the fingerprints of the alerts that silence it.
        """
        alerts: list[dict[str, Any]] = self.request("GET", "/api/v2/alerts")
        return [alert for alert in alerts if labels.items() <= alert["labels"].items()]

    def post_alerts(self, *alerts: Mapping[str, Any]) -> None:
        """Hand over alerts as Prometheus does: each has `labels`, and may have `annotations`, `startsAt` and `endsAt`."""
        self.request("POST", "/api/v2/alerts", list(alerts))

    def _command(self) -> list[str]:
        options = {
            "config.file": "alertmanager.yml",
            "storage.path": "data",
            "web.listen-address": self.address,
            "cluster.listen-address": "",
        }
        return ["/usr/bin/prometheus-alertmanager", *(f"--{name}={value}" for name, value in options.items())]


@dataclass(frozen=True)
class Notification:
    """One alert of one message of Alertmanager. `status` is firing or resolved; `receiver` is the name in its configuration."""

    receiver: str
    status: str
    labels: Labels
    annotations: Labels

    @property
    def name(self) -> str:
        return self.labels["alertname"]


class WebhookReceiver:
    """An HTTP server on loopback that keeps every message which Alertmanager posts to it, whatever the path."""

    def __init__(self) -> None:
        self._bodies: list[dict[str, Any]] = []
        keep = self._bodies.append

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                keep(json.loads(self.rfile.read(length)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nothing: its output would be the test's."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    @property
    def notifications(self) -> list[Notification]:
        """Every alert of every message, in the order of their arrival."""
        return [
            Notification(message["receiver"], alert["status"], alert["labels"], alert["annotations"])
            for message in list(self._bodies)
            for alert in message["alerts"]
        ]

    def of(self, name: str, **labels: str) -> list[Notification]:
        """What came about the alert of this name with these labels."""
        wanted = {"alertname": name, **labels}
        return [notification for notification in self.notifications if wanted.items() <= notification.labels.items()]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
