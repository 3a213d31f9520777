"""The manifests' ports, variables, metrics and models are the code's."""

from __future__ import annotations

import asyncio
import re
import urllib.error
import urllib.request
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from clipserve_gateway import cli, errors
from clipserve_gateway.cli import settings_from
from clipserve_gateway.guard.metrics import GuardMetrics
from clipserve_gateway.guard.probe import LAST_SECONDS
from clipserve_gateway.guard.serve import Guard
from clipserve_gateway.guard.settings import GuardSettings
from clipserve_gateway.http_server.operations import ALIVE_SECONDS
from clipserve_gateway.local.settings import LocalSettings
from clipserve_gateway.metrics import Metrics
from clipserve_gateway.server import Gateway
from clipserve_gateway.settings import Settings
from clipserve_gateway.triton.client import CHANNEL_OPTIONS
from clipserve_gateway.triton.replica_pool import NAMES_SECONDS
from clipserve_gateway.triton.resolver import RESOLVE_SECONDS

from testing.fakes import FakeBackend

ROOT = Path(__file__).parents[2]
PREFIX = "CLIPSERVE_"
DNS_DELAY = 31.0
"""Seconds until DNS forgets a pod: Kubernetes' own delay, and the 30 s for which CoreDNS caches."""


def settings(manifests: Any, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The gateway's settings as its container would read them."""
    for name, value in manifests.settings.items():
        monkeypatch.setenv(name, value)
    return settings_from({})


def port(container: dict[str, Any], name: str) -> int:
    (found,) = (it["containerPort"] for it in container["ports"] if it["name"] == name)
    return int(found)


def options(container: dict[str, Any]) -> dict[str, str]:
    """A container's --name=value arguments."""
    return dict(it.removeprefix("--").partition("=")[::2] for it in container["args"])


def seconds_before_sigterm(container: dict[str, Any]) -> int:
    return int(container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0))


def exported() -> dict[str, str]:
    """Kinds of our own metrics by name."""
    families = [*Metrics().registry.collect(), *GuardMetrics().registry.collect()]
    return {it.name + ("_total" if it.type == "counter" else ""): it.type for it in families}


def rules() -> list[dict[str, Any]]:
    found = yaml.safe_load((ROOT / "deploy" / "prometheus-adapter" / "rules.yaml").read_text())
    return found["rules"] + found["externalRules"]


@pytest.fixture
async def gateway_stages(tmp_path: Path) -> set[str]:
    """The stages whose saturation a gateway tells."""
    metrics = Gateway(Settings(port=0, http_port=0, data=str(tmp_path))).metrics
    samples = [it for family in metrics.registry.collect() for it in family.samples]
    return {it.labels["stage"] for it in samples if it.name == "clipserve_stage_saturation"}


def test_every_variable_is_a_setting_with_a_valid_value(
    manifests: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _, container in manifests.containers():
        for variable in container.get("env", []):
            secret = "secretKeyRef" in variable.get("valueFrom", {})
            assert secret or not variable["name"].startswith(PREFIX), "settings are in the ConfigMap"
    for name in manifests.settings:
        assert name == name.upper()
        assert name.removeprefix(PREFIX).lower() in Settings.model_fields, f"{name} is no setting"
    assert settings(manifests, monkeypatch).host == "0.0.0.0"


def test_the_gateways_ports_are_its_containers(manifests: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    gateway = manifests.container("gateway")
    chosen = settings(manifests, monkeypatch)
    assert port(gateway, "grpc") == chosen.port == Settings.model_fields["port"].default
    assert port(gateway, "http") == chosen.http_port == Settings.model_fields["http_port"].default


def test_the_api_over_http_is_off_until_a_component_turns_it_on(
    manifests: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = settings(manifests, monkeypatch)
    assert (chosen.api_port, chosen.web) == (None, False)
    assert "api" not in [it["name"] for it in manifests.container("gateway")["ports"]]


def test_the_api_port_is_its_containers_its_services_and_its_policys(
    render_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = render_with("cpu-dev", "http-api")
    chosen = settings(manifests, monkeypatch)
    number = port(manifests.container("gateway"), "api")
    assert number == chosen.api_port == LocalSettings.model_fields["api_port"].default
    assert not chosen.web
    service = manifests.one("Service", "clipserve-api")["spec"]
    assert service["ports"] == [{"name": "api", "port": number, "targetPort": "api", "appProtocol": "http"}]
    (deployment,) = manifests.selected(service["selector"])
    assert deployment["metadata"]["name"] == "clipserve-gateway"
    *_, way = manifests.one("NetworkPolicy", "clipserve-gateway")["spec"]["ingress"]
    assert way == {"from": [{"namespaceSelector": {}}], "ports": [{"port": "api"}]}


def test_the_api_port_has_tls_and_tokens_with_the_security_component(
    render_with: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifests = render_with("cpu-dev", "http-api", "security")
    chosen = settings(manifests, monkeypatch)
    assert all(files_of(chosen))
    assert manifests.one("Service", "clipserve-api")["spec"]["ports"][0]["appProtocol"] == "https"


def test_the_gateway_calls_tritons_service(manifests: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    host, _, number = settings(manifests, monkeypatch).triton.partition(":")
    spec = manifests.one("Service", host)["spec"]
    assert int(number) in [it["port"] for it in spec["ports"] if it["name"] == "grpc"]
    (deployment,) = manifests.selected(spec["selector"])
    assert deployment["metadata"]["name"] == "clipserve-triton"


def test_tritons_ports_are_its_containers(manifests: Any) -> None:
    triton = manifests.container("triton")
    for option, name in (("http-port", "http"), ("grpc-port", "grpc"), ("metrics-port", "metrics")):
        assert int(options(triton)[option]) == port(triton, name)


def test_scrapers_are_told_the_metrics_ports(manifests: Any) -> None:
    for name, number in (("clipserve-gateway", "http"), ("clipserve-triton", "metrics")):
        template = manifests.one("Deployment", name)["spec"]["template"]
        told = template["metadata"]["annotations"]["prometheus.io/port"]
        assert int(told) == port(template["spec"]["containers"][0], number)


def test_scrapers_are_told_the_guards_port_too(manifests: Any) -> None:
    service = manifests.one("Service", "clipserve-triton")
    assert int(service["metadata"]["annotations"]["prometheus.io/port"]) == port(
        manifests.container("guard"), "guard"
    )


def test_collections_lie_on_a_mounted_volume_or_elsewhere(manifests: Any) -> None:
    data = manifests.settings["CLIPSERVE_DATA"]
    mounts = [it["mountPath"] for it in manifests.container("gateway")["volumeMounts"]]
    elsewhere = data.startswith(("s3://", "milvus://")) and "/var/lib/clipserve" not in mounts
    assert data in mounts or elsewhere


def test_certificates_and_tokens_are_where_their_secrets_are_mounted(
    production: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keys of a Secret are its files: `tls.crt` and `tls.key` by Kubernetes' own convention."""
    chosen = settings(production, monkeypatch)
    pod = production.one("Deployment", "clipserve-gateway")["spec"]["template"]["spec"]
    secrets = {it["name"]: it["secret"]["secretName"] for it in pod["volumes"] if "secret" in it}
    folders = {
        it["mountPath"]: secrets[it["name"]]
        for it in pod["containers"][0]["volumeMounts"]
        if it["name"] in secrets
    }
    files = {path: folders[str(path.parent)] for path in map(Path, files_of(chosen))}
    named = {(secret, path.name) for path, secret in files.items()}
    assert named == {
        ("clipserve-gateway-tls", "tls.crt"),
        ("clipserve-gateway-tls", "tls.key"),
        ("clipserve-gateway-tokens", "tokens"),
    }
    readme = (ROOT / "deploy" / "README.md").read_text()
    for secret, key in named:
        (command,) = re.findall(rf"create secret \w+ {secret} (.*)", readme)
        assert key in command, f"the README makes {secret} with {key}"
    (client_ca,) = re.findall(r"CLIPSERVE_TLS_CLIENT_CA=(\S+?)`", readme)
    assert folders[str(Path(client_ca).parent)] == "clipserve-gateway-tls"


def files_of(settings: Settings) -> tuple[str, str, str]:
    return settings.tls_certificate, settings.tls_key, settings.token_file


def test_only_the_secured_overlay_asks_for_files(manifests: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = settings(manifests, monkeypatch)
    volumes = manifests.one("Deployment", "clipserve-gateway")["spec"]["template"]["spec"]["volumes"]
    assert any("secret" in it for it in volumes) is all(files_of(chosen)) is any(files_of(chosen))


def test_the_gateway_may_finish_before_it_is_killed(manifests: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    pod = manifests.one("Deployment", "clipserve-gateway")["spec"]["template"]["spec"]
    chosen = settings(manifests, monkeypatch)
    needed = seconds_before_sigterm(pod["containers"][0]) + chosen.drain_seconds + chosen.grace_seconds
    assert needed + 5 <= pod["terminationGracePeriodSeconds"], "and some seconds to close the collections"


def test_triton_may_finish_before_it_is_killed(manifests: Any) -> None:
    pod = manifests.one("Deployment", "clipserve-triton")["spec"]["template"]["spec"]
    (triton,) = pod["containers"]
    needed = seconds_before_sigterm(triton) + int(options(triton)["exit-timeout-secs"])
    assert needed + 5 <= pod["terminationGracePeriodSeconds"], "and some seconds to unload the models"


def test_triton_serves_on_until_every_gateway_has_left_it(gpu: Any, monkeypatch: Any) -> None:
    """After SIGTERM it refuses calls, so by then no gateway may send it any."""
    poll = settings(gpu, monkeypatch).model_poll_seconds
    assert (
        seconds_before_sigterm(gpu.container("triton")) >= poll + NAMES_SECONDS + RESOLVE_SECONDS + DNS_DELAY
    )


def test_triton_allows_the_gateways_pings(manifests: Any) -> None:
    allowed = int(options(manifests.container("triton"))["grpc-http2-min-recv-ping-interval-without-data"])
    assert allowed < int(str(dict(CHANNEL_OPTIONS)["grpc.keepalive_time_ms"]))


def test_triton_lets_nobody_change_its_models(manifests: Any) -> None:
    """Load and unload are refused unless control is explicit; a test asks the real Triton."""
    given = options(manifests.container("triton"))
    assert given["model-control-mode"] in ("none", "poll")
    assert given["exit-on-error"] == given["strict-readiness"] == "false", "one bad model hurts no other"
    restricted, _, key = given["grpc-restricted-protocol"].partition(":")
    assert set(restricted.split(",")) == {"shared-memory", "trace", "logging"}
    assert key == "admin-key=$(POD_UID)"
    assert "health" not in given["http-restricted-api"], "the kubelet asks without a key"


def paths(container: dict[str, Any], number: int | str) -> set[str]:
    """What a container's probes ask of that port."""
    asked = [probe["httpGet"] for name, probe in container.items() if name.endswith("Probe")]
    return {it["path"] for it in asked if it["port"] == number}


async def status(port: int, path: str) -> int:
    """Of a page on this machine."""

    def get() -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code

    return await asyncio.to_thread(get)


async def test_the_gateway_serves_the_paths_that_the_probes_and_scrapers_ask(
    manifests: Any, tmp_path: Path
) -> None:
    container = manifests.container("gateway")
    annotations = manifests.one("Deployment", "clipserve-gateway")["spec"]["template"]["metadata"][
        "annotations"
    ]
    triton = FakeBackend()
    triton.source.error = errors.ModelUnavailable("down")
    gateway = Gateway(Settings(port=0, http_port=0, data=str(tmp_path)), triton)
    await gateway.start()
    await gateway.begun()
    try:
        for probe, expected in (("startupProbe", 200), ("livenessProbe", 200), ("readinessProbe", 200)):
            path = container[probe]["httpGet"]["path"]
            assert await status(gateway.http_port, path) == expected, f"ready without a Triton: {path}"
            assert container[probe]["timeoutSeconds"] > ALIVE_SECONDS
        assert await status(gateway.http_port, annotations["prometheus.io/path"]) == 200
    finally:
        await gateway.stop(drain_seconds=0, grace_seconds=0)


async def test_the_guard_serves_the_paths_that_tritons_probes_its_own_and_scrapers_ask(
    manifests: Any,
) -> None:
    container, triton = manifests.container("guard"), manifests.container("triton")
    annotations = manifests.one("Service", "clipserve-triton")["metadata"]["annotations"]
    guard = Guard(GuardSettings(http_port=0), FakeBackend())
    guard.http.start()
    try:
        assert paths(triton, port(container, "guard")) == {"/healthz", "/readyz"}
        assert triton["livenessProbe"]["httpGet"]["path"] == "/healthz"
        assert triton["readinessProbe"]["httpGet"]["path"] == "/readyz"
        assert paths(container, "guard") == {"/alive"}
        for path, expected in (("/healthz", 200), ("/readyz", 503), ("/alive", 200)):
            assert await status(guard.http.port, path) == expected, f"before the first look: {path}"
        assert await status(guard.http.port, annotations["prometheus.io/path"]) == 200
        assert container["livenessProbe"]["timeoutSeconds"] > ALIVE_SECONDS
    finally:
        await asyncio.to_thread(guard.http.stop)


def test_the_guards_arguments_are_settings_that_fit_the_pod(manifests: Any) -> None:
    guard, triton = manifests.container("guard"), manifests.container("triton")
    command, *_ = guard["args"]
    assert command in cli.main.commands
    given = {name.replace("-", "_"): value for name, value in options(guard).items() if name != command}
    assert given.keys() <= GuardSettings.model_fields.keys()
    chosen = GuardSettings(**given)
    assert chosen.triton == f"127.0.0.1:{port(triton, 'grpc')}"
    assert chosen.http_port == port(guard, "guard") == GuardSettings.model_fields["http_port"].default
    assert chosen.host == "0.0.0.0", "the kubelet asks the pod's address"
    startup = triton["startupProbe"]
    assert chosen.startup_seconds == startup["periodSeconds"] * startup["failureThreshold"]
    assert chosen.canary_seconds is not None, "each pod has one guard, which decides on it: at an even pace"
    look = chosen.canary_seconds + chosen.canary_timeout_seconds + LAST_SECONDS
    assert chosen.restart_after_seconds > 2 * chosen.canary_misses * look, "no hasty restart"
    liveness = triton["livenessProbe"]
    patience = liveness["periodSeconds"] * (liveness["failureThreshold"] - 1)
    assert patience > look, "a Triton that took long to load is looked at before it is killed again"


def test_autoscalers_use_metrics_that_the_rules_provide(gpu: Any) -> None:
    provided = {it["name"]["as"] for it in rules()}
    asked = {
        metric[metric["type"].lower()]["metric"]["name"]
        for it in gpu.of("HorizontalPodAutoscaler")
        for metric in it["spec"]["metrics"]
        if metric["type"] != "Resource"
    }
    assert asked == provided


def test_the_rules_use_metrics_that_exist(triton_metrics: dict[str, str]) -> None:
    kinds = exported() | triton_metrics
    for rule in rules():
        series = rule["seriesQuery"].partition("{")[0]
        query = rule["metricsQuery"].replace("<<.Series>>", series)
        named = set(re.findall(r"\b(?:clipserve|nv)_\w+", query))
        assert series in named
        for name in named:
            assert name in kinds, f"nobody exports {name}"
            over_time = rf"\b(\w+)\({name}{{[^}}]*<<.LabelMatchers>>}}"
            function = "rate" if kinds[name] == "counter" else "avg_over_time"
            assert set(re.findall(over_time, query)) == {function}, f"{name} is a {kinds[name]}"


def test_a_rule_named_like_a_metric_is_that_metric() -> None:
    for rule in rules():
        series = rule["seriesQuery"].partition("{")[0]
        derived = "/" in rule["metricsQuery"] or "stage=" in rule["metricsQuery"]
        assert (rule["name"]["as"] == series) is not derived


def test_triton_is_not_scaled_by_the_delay_that_batching_itself_makes(gpu: Any) -> None:
    metrics = gpu.one("HorizontalPodAutoscaler", "clipserve-triton")["spec"]["metrics"]
    (target,) = (
        int(it["pods"]["target"]["averageValue"])
        for it in metrics
        if it["type"] == "Pods" and "queue_us" in it["pods"]["metric"]["name"]
    )
    configs = [path.read_text() for path in (ROOT / "model_repository").glob("*/config.pbtxt")]
    delays = [
        int(it) for text in configs for it in re.findall(r"max_queue_delay_microseconds\s*:\s*(\d+)", text)
    ]
    assert delays
    assert target >= 2 * max(delays)


def test_the_saturation_target_is_within_its_range(gpu: Any) -> None:
    metrics = gpu.one("HorizontalPodAutoscaler", "clipserve-gateway")["spec"]["metrics"]
    targets = [it["pods"]["target"]["averageValue"] for it in metrics if it["type"] == "Pods"]
    assert targets
    assert all(0.5 <= int(target.removesuffix("m")) / 1000 <= 0.9 for target in targets)


def test_the_autoscalers_select_stages_that_there_are(gpu: Any, gateway_stages: set[str]) -> None:
    metrics = gpu.one("HorizontalPodAutoscaler", "clipserve-gateway")["spec"]["metrics"]
    selectors = [it["pods"]["metric"]["selector"] for it in metrics if it["type"] == "Pods"]
    asked = {selector["matchLabels"]["stage"] for selector in selectors}
    assert asked == {"decode", "loop"}, "what a gateway does by itself"
    for rule in rules():
        asked |= set(re.findall(r'stage="(\w+)"', rule["metricsQuery"]))
    assert asked == {"decode", "loop", "encode"}
    assert asked <= gateway_stages


def test_the_image_of_models_holds_those_of_the_committed_repository(manifests: Any) -> None:
    (default,) = re.findall(
        r"^ARG MODEL=(\S+)$", (ROOT / "deploy/docker/models.Dockerfile").read_text(), re.MULTILINE
    )
    committed = {path.parent.name for path in (ROOT / "model_repository").glob("*/config.pbtxt")}
    assert committed == {f"{default}_image", f"{default}_text"}
    named = manifests.settings.get("CLIPSERVE_DEFAULT_MODEL", default)
    if manifests.container("models")["image"].endswith(f"-{default}-fp32"):
        assert named == default


def test_our_images_are_tagged_with_our_version(manifests: Any) -> None:
    version = metadata.version("clipserve")
    images = (("gateway", "gateway", ""), ("guard", "gateway", ""), ("models", "models", "-"))
    for container, image, rest in images:
        name = manifests.container(container)["image"].rpartition("/")[-1]
        assert name.startswith(f"clipserve-{image}:{version}{rest}")
