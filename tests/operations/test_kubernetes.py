"""The kustomization of deploy/ against Kubernetes' own schemas, the code and the alert rules."""

from __future__ import annotations

import re
import subprocess
import tomllib
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from k2.ingestion.options import OPTIONS
from k2.ingestion.settings import Settings, load_settings
from kit import dockerfile
from kit.tools import needs
from operations.alert_rules import SHARDS_RULE
from operations.compose_file import LETTERS_OF_A_FULL_QUEUE_S, PLAIN, ROOT, services

BASE = ROOT / "deploy/kubernetes"
OLDEST, NEWEST = "1.28", kubernetes_validate.latest_version()
RULES = yaml.safe_load((ROOT / "config/prometheus/rules/binance_alerts.yml").read_text(encoding="utf-8"))
SYMBOLS = ",".join(f"S{number}USDT" for number in range(30))
SHARDS = "binance-client-shards"
pytestmark = needs("kubectl")

Manifest = dict[str, Any]


@cache
def rendered(directory: Path = BASE) -> dict[str, Manifest]:
    """The manifests by kind, as kubectl makes them; one of each, but for the rule that is here only."""
    made = subprocess.run(["kubectl", "kustomize", directory], capture_output=True, text=True, check=False, timeout=60)
    assert made.returncode == 0, made.stderr
    found = list(yaml.safe_load_all(made.stdout))
    by_kind = {SHARDS if manifest["metadata"]["name"] == SHARDS else manifest["kind"]: manifest for manifest in found}
    assert len(by_kind) == len(found)
    return by_kind


def pod(manifests: dict[str, Manifest] | None = None) -> Manifest:
    spec: Manifest = (manifests or rendered())["StatefulSet"]["spec"]["template"]["spec"]
    return spec


def container(manifests: dict[str, Manifest] | None = None) -> Manifest:
    (only,) = pod(manifests)["containers"]
    return dict(only)


def environment(ordinal: int, manifests: dict[str, Manifest] | None = None) -> dict[str, str]:
    """The variables of the pod with this ordinal, references put in as Kubernetes does: only to what stands before."""
    known: dict[str, str] = {}
    for entry in container(manifests)["env"]:
        field = entry.get("valueFrom", {}).get("fieldRef", {}).get("fieldPath")
        if field == "metadata.labels['apps.kubernetes.io/pod-index']":
            known[entry["name"]] = str(ordinal)
        else:
            known[entry["name"]] = re.sub(r"\$\((\w+)\)", lambda found: known.get(found[1], found[0]), entry["value"])
    return {**(manifests or rendered())["ConfigMap"]["data"], **known}


def settings(ordinal: int, **changed: str) -> Settings:
    return load_settings([], {"HOME": "/", **environment(ordinal), **changed})


@pytest.mark.parametrize("version", [OLDEST, NEWEST])
@pytest.mark.parametrize("kind", ["ConfigMap", "NetworkPolicy", "PodDisruptionBudget", "Service", "StatefulSet"])
def test_manifest_is_valid(kind: str, version: str) -> None:
    """Kubernetes' own schema knows every field, in the oldest version that is promised and in the newest."""
    kubernetes_validate.validate(rendered()[kind], version, strict=True)


def test_those_are_all() -> None:
    """Beside the kinds of Kubernetes itself there are the two of the Prometheus Operator, which the tests below look at."""
    operators = [manifest["kind"] for manifest in rendered().values() if manifest["apiVersion"] == "monitoring.coreos.com/v1"]
    assert sorted(operators) == ["PrometheusRule", "PrometheusRule", "ServiceMonitor"]
    assert len(rendered()) == 5 + len(operators)


def test_no_namespace_is_forced() -> None:
    """Whoever applies it says where to."""
    assert not [kind for kind, manifest in rendered().items() if "namespace" in manifest["metadata"]]


# The shards


def test_pods_are_the_shards() -> None:
    """The pods of the set have each symbol exactly once, each the part that its ordinal names."""
    replicas = rendered()["StatefulSet"]["spec"]["replicas"]
    parts = [settings(ordinal, BINANCE_SYMBOLS=SYMBOLS).feed for ordinal in range(replicas)]
    assert sorted(chain(*(part.symbols for part in parts))) == sorted(SYMBOLS.split(","))
    assert [str(part.shard) for part in parts] == [f"{ordinal}/{replicas}" for ordinal in range(replicas)]


def test_replicas_and_shards_are_one_number(tmp_path: Path) -> None:
    """Changed in the one place where it stands, the number of replicas is the number of shards too."""
    for file in BASE.glob("*.*"):
        (tmp_path / file.name).write_text(
            file.read_text(encoding="utf-8").replace("replicas: 3", "replicas: 5"), encoding="utf-8"
        )
    assert environment(4, rendered(tmp_path))["K2_SHARD"] == "4/5"
    assert shard_missing(rendered(tmp_path))["expr"] == 'count(up{job="binance-client"}) < 5'


# The pod


def test_variables_are_options() -> None:
    """Every variable but the pod's own number is an option of the client."""
    assert set(environment(0)) - {option.variable for option in OPTIONS} == {"POD_INDEX"}


def test_command_and_image() -> None:
    """The pod runs the client out of the version of the image that this repository makes."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert container()["image"] == f"k2-platform:{version}"
    module = container()["command"][-1]
    assert (ROOT / "src" / Path(*module.split("."))).with_suffix(".py").is_file()


def test_probes_ask_the_client() -> None:
    """The probes ask paths that the client serves, on its port; alive and ready are two questions, and starting is the first."""
    port = settings(0).http.port
    assert container()["ports"] == [{"name": "http", "containerPort": port}]
    probes = {name: container()[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")}
    paths = {name: probe["path"] for name, probe in probes.items()}
    assert paths == {"startup": "/livez", "liveness": "/livez", "readiness": "/readyz"}
    assert {probe["port"] for probe in probes.values()} == {"http"}
    assert settings(0).http.host == "0.0.0.0"  # noqa: S104


def test_pod_has_time_to_stop() -> None:
    """Kubernetes kills later than the client gives up by itself and has turned a full queue into dead letters."""
    assert pod()["terminationGracePeriodSeconds"] >= settings(0).shutdown_timeout_s + LETTERS_OF_A_FULL_QUEUE_S


def test_start_waits_on() -> None:
    """A pod whose broker or registry is away waits, well past any alert, instead of being restarted ever more rarely."""
    assert settings(0).startup_timeout_s >= 3600


def test_pod_is_restricted() -> None:
    """As the standard `restricted` asks: no root, no privilege, no capability, the default filter; and a read-only root."""
    outer, inner = pod()["securityContext"], container()["securityContext"]
    assert outer["runAsNonRoot"] is True
    assert outer["seccompProfile"] == {"type": "RuntimeDefault"}
    assert inner == {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    assert pod()["automountServiceAccountToken"] is False
    assert {"cpu", "memory"} == set(container()["resources"]["limits"]) == set(container()["resources"]["requests"])


def test_pod_is_the_images_user() -> None:
    """Files on the volumes belong to the user that the image runs as."""
    final = dockerfile.stages((ROOT / "Dockerfile").read_text(encoding="utf-8"))[-1]
    context = pod()["securityContext"]
    assert final.one("USER").text == f"{context['runAsUser']}:{context['runAsGroup']}" == services()[PLAIN]["user"]
    assert context["fsGroup"] == context["runAsGroup"]


def test_no_service_looks_like_an_option() -> None:
    """Kubernetes sets variables for every service beside the pod: one named `k2-http` would set K2_HTTP_PORT to an address."""
    assert pod()["enableServiceLinks"] is False


def test_volumes_hold_what_must_outlive_the_pod() -> None:
    """State and dead letters are on claims of the pod's own; what else may be written is in memory, and bounded."""
    mounts = {mount["mountPath"]: mount["name"] for mount in container()["volumeMounts"]}
    claims = {claim["metadata"]["name"] for claim in rendered()["StatefulSet"]["spec"]["volumeClaimTemplates"]}
    kept = {str(settings(0).state_dir), str(settings(0).dead_letter_dir)}
    assert {path for path, name in mounts.items() if name in claims} == kept
    (memory,) = pod()["volumes"]
    assert mounts["/tmp"] == memory["name"]
    assert set(memory["emptyDir"]) == {"medium", "sizeLimit"}
    assert settings(0).logs.file is None


# Around the pod


def test_selectors_find_the_pod() -> None:
    """Service, budget, policy and spread all mean these pods."""
    labels = rendered()["StatefulSet"]["spec"]["template"]["metadata"]["labels"]
    selectors = [
        rendered()["StatefulSet"]["spec"]["selector"]["matchLabels"],
        rendered()["Service"]["spec"]["selector"],
        rendered()["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        rendered()["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
        pod()["topologySpreadConstraints"][0]["labelSelector"]["matchLabels"],
    ]
    assert all(selector.items() <= labels.items() for selector in selectors)
    assert rendered()["StatefulSet"]["spec"]["serviceName"] == rendered()["Service"]["metadata"]["name"]


def test_pods_that_are_not_ready_are_scraped() -> None:
    """The service names every pod, for a client that is in trouble is the one to be looked at."""
    assert rendered()["Service"]["spec"]["publishNotReadyAddresses"] is True
    assert rendered()["Service"]["spec"]["clusterIP"] == "None"


def test_monitor_makes_the_job_of_the_rules() -> None:
    """The job's label is what the rules ask for, and path and port are the client's."""
    monitor, service = rendered()["ServiceMonitor"]["spec"], rendered()["Service"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert service["metadata"]["labels"][monitor["jobLabel"]] == "binance-client"
    assert any('job="binance-client"' in rule["expr"] for group in RULES["groups"] for rule in group["rules"])
    (endpoint,) = monitor["endpoints"]
    assert endpoint["port"] in {port["name"] for port in service["spec"]["ports"]}
    prometheus = yaml.safe_load((ROOT / "config/prometheus/prometheus.yml").read_text(encoding="utf-8"))["global"]
    assert (endpoint["path"], endpoint["interval"]) == ("/metrics", prometheus["scrape_interval"])
    assert endpoint["relabelings"] == [{"sourceLabels": ["__meta_kubernetes_pod_name"], "targetLabel": "instance"}]


def test_policy_lets_through_what_is_needed() -> None:
    """In comes the scraper on the client's port; out go names, the exchange, and the brokers and the registry of the settings."""
    policy = rendered()["NetworkPolicy"]["spec"]
    assert [port["port"] for rule in policy["ingress"] for port in rule["ports"]] == ["http"]
    allowed = {port["port"] for rule in policy["egress"] for port in rule["ports"]}
    addresses = [settings(0).feed.ws_url, settings(0).registry.url, f"kafka://{settings(0).kafka.bootstrap}"]
    needed = {int(re.search(r":([0-9]+)(/|$)", address)[1]) for address in addresses}  # type: ignore[index]
    assert needed | {53, 443} <= allowed


# What is generated, and the login


def test_rule_is_the_rule_file() -> None:
    """The manifest that is applied has the very groups of the file that Prometheus reads elsewhere."""
    assert rendered()["PrometheusRule"]["spec"] == {"groups": RULES["groups"]}


def shard_missing(manifests: dict[str, Manifest] | None = None) -> dict[str, Any]:
    (group,) = (manifests or rendered())[SHARDS]["spec"]["groups"]
    (rule,) = group["rules"]
    return dict(rule)


@needs("promtool")
def test_a_missing_pod_is_an_alert(tmp_path: Path) -> None:
    """With three parts it is silent while three pods are scraped, well or not, and fires two minutes after one is gone."""
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rendered()[SHARDS]["spec"]), encoding="utf-8")
    pods = ["1+0x60", "1+0x8 0+0x51", "1+0x20 stale _x19 1+0x19"]
    series = [
        {"series": f'up{{job="binance-client", instance="binance-client-{ordinal}"}}', "values": values}
        for ordinal, values in enumerate(pods)
    ]
    texts = {**shard_missing()["annotations"]}
    texts["description"] = texts["description"].replace("{{ $value }}", "2")
    fires = [{"exp_labels": shard_missing()["labels"], "exp_annotations": texts}]
    expected = {"5m": [], "7m": [], "7m15s": fires, "10m": fires, "10m15s": [], "12m": []}
    rows = [{"eval_time": at, "alertname": "BinanceShardMissing", "exp_alerts": alerts} for at, alerts in expected.items()]
    test = {"interval": "15s", "input_series": series, "alert_rule_test": rows}
    cases = {"rule_files": ["rules.yml"], "evaluation_interval": "15s", "tests": [test]}
    (tmp_path / "cases.yml").write_text(yaml.safe_dump(cases), encoding="utf-8")
    tested = subprocess.run(["promtool", "test", "rules", tmp_path / "cases.yml"], capture_output=True, text=True, check=False)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_that_alert_has_the_labels_of_the_others() -> None:
    """Routes, links and the job count on the same words as in the one rule file."""
    rule = shard_missing()
    known = next(one for group in RULES["groups"] for one in group["rules"] if one.get("alert") == "BinanceClientAbsent")
    assert rule["labels"] == known["labels"]
    assert rule["annotations"].keys() == known["annotations"].keys()
    assert rule["annotations"]["runbook"] == known["annotations"]["runbook"]
    assert yaml.safe_load(SHARDS_RULE.read_text(encoding="utf-8"))["metadata"]["name"] == SHARDS


def test_documented_label_for_an_operator(tmp_path: Path) -> None:
    """The patch of the page gives both rules and the monitor the label that kube-prometheus-stack selects by."""
    text = (ROOT / "docs/deployment.md").read_text(encoding="utf-8")
    (patch,) = re.findall(r"^```yaml\n(patches:.*?)^```", text, re.MULTILINE | re.DOTALL)
    (tmp_path / "kustomization.yaml").write_text(f"resources: [{_relative(BASE, tmp_path)}]\n{patch}", encoding="utf-8")
    labelled = {name for name, manifest in rendered(tmp_path).items() if "release" in manifest["metadata"].get("labels", {})}
    assert labelled == {"PrometheusRule", "ServiceMonitor", SHARDS}


def test_login_comes_from_a_secret(tmp_path: Path) -> None:
    """With the component for a login the client understands its settings, and no password stands in an environment."""
    base, login = _relative(BASE, tmp_path), _relative(BASE / "components/kafka-login", tmp_path)
    text = f"resources: [{base}]\ncomponents: [{login}]\n"
    (tmp_path / "kustomization.yaml").write_text(text, encoding="utf-8")
    manifests = rendered(tmp_path)
    kubernetes_validate.validate(manifests["StatefulSet"], OLDEST, strict=True)
    (tmp_path / "secrets").mkdir()
    for name in ("kafka_password", "registry_password"):
        (tmp_path / "secrets" / name).write_text("hidden", encoding="utf-8")
    given = {
        name: text.replace("/run/credentials", str(tmp_path / "secrets")) for name, text in environment(0, manifests).items()
    }
    given |= {"K2_KAFKA_SASL_USERNAME": "k2", "K2_SCHEMA_REGISTRY_USER": "k2"}
    assert set(load_settings([], {"HOME": "/", **given}).secrets()) == {"hidden"}


def _relative(directory: Path, start: Path) -> str:
    """kustomize takes no absolute paths."""
    return "../" * len(start.parts[1:]) + str(directory).removeprefix("/")
