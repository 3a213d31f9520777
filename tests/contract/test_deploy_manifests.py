"""The manifests are valid, and their parts fit each other."""

from __future__ import annotations

import ipaddress
from collections import Counter
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from clipserve_gateway.cli import settings_from
from clipserve_gateway.index.engines import engine_of

KUSTOMIZE = Path(__file__).parents[2] / "deploy" / "kustomize"
OLDEST = "1.30"
"""The oldest Kubernetes that deploy/README.md promises."""
EXPECTED = {"Deployment", "Service", "ConfigMap", "HorizontalPodAutoscaler", "PodDisruptionBudget"}
EXPECTED |= {"NetworkPolicy", "ServiceAccount", "Namespace", "PersistentVolumeClaim"}


def pod(deployment: dict[str, Any]) -> dict[str, Any]:
    return deployment["spec"]["template"]["spec"]


def ports(containers: list[dict[str, Any]]) -> dict[str, int]:
    """Port numbers by name, which belong to one pod: no two are equal."""
    found = [(port["name"], port["containerPort"]) for it in containers for port in it["ports"]]
    assert len(dict(found)) == len({number for _, number in found}) == len(found)
    return dict(found)


@pytest.mark.parametrize("version", [OLDEST, kubernetes_validate.latest_version()])
def test_every_object_is_valid_for_the_oldest_and_the_newest_kubernetes(manifests: Any, version: str) -> None:
    for it in manifests.objects:
        kubernetes_validate.validate(it, version, strict=True)


def test_nothing_is_missing(gpu: Any) -> None:
    assert {it["kind"] for it in gpu.objects} == EXPECTED
    kinds = Counter(it["kind"] for it in gpu.objects)
    for kind in ("Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "ServiceAccount"):
        assert kinds[kind] == 2, f"one {kind} for the gateway and one for Triton"
    assert kinds["NetworkPolicy"] == 3, "and one that denies"


def test_every_object_lies_in_the_namespace_under_a_name_of_its_own(manifests: Any) -> None:
    (namespace,) = manifests.of("Namespace")
    for it in manifests.objects:
        if it is not namespace:
            assert it["metadata"]["namespace"] == namespace["metadata"]["name"]
        assert it["metadata"]["labels"]["app.kubernetes.io/part-of"] == "clipserve"
    names = Counter((it["kind"], it["metadata"]["name"]) for it in manifests.objects)
    assert set(names.values()) == {1}


def test_the_base_has_one_object_a_file_named_by_its_kind() -> None:
    files = [path for path in (KUSTOMIZE / "base").rglob("*.yaml") if path.name != "kustomization.yaml"]
    for path in files:
        (document,) = yaml.safe_load_all(path.read_text())
        assert document["kind"].lower() == path.stem
    listed = [
        path.parent / name
        for path in (KUSTOMIZE / "base").rglob("kustomization.yaml")
        for name in yaml.safe_load(path.read_text())["resources"]
        if name.endswith(".yaml")
    ]
    assert sorted(listed) == sorted(files)


def test_services_are_headless_and_select_one_deployment(manifests: Any) -> None:
    for service in manifests.of("Service"):
        spec = service["spec"]
        assert spec["clusterIP"] == "None"
        (deployment,) = manifests.selected(spec["selector"])
        for port in spec["ports"]:
            # Nothing translates ports there: callers go to the pod's address with the port they name.
            assert port["port"] == ports(manifests.restarting(deployment))[port["name"]]
            # Kubernetes before 1.33 knows no names of sidecars' ports.
            by_name = port["name"] in ports(pod(deployment)["containers"])
            assert port["targetPort"] == (port["name"] if by_name else port["port"])


def test_deployments_select_their_own_pods(manifests: Any) -> None:
    for deployment in manifests.of("Deployment"):
        assert manifests.selected(deployment["spec"]["selector"]["matchLabels"]) == [deployment]
        for constraint in pod(deployment)["topologySpreadConstraints"]:
            assert manifests.selected(constraint["labelSelector"]["matchLabels"]) == [deployment]


def test_every_deployment_has_a_disruption_budget_that_lets_nodes_drain(manifests: Any) -> None:
    guarded = []
    for budget in manifests.of("PodDisruptionBudget"):
        (deployment,) = manifests.selected(budget["spec"]["selector"]["matchLabels"])
        guarded.append(deployment)
        assert budget["spec"]["maxUnavailable"] >= 1
        assert "minAvailable" not in budget["spec"]
    assert len(guarded) == len(manifests.of("Deployment"))


def test_autoscalers_own_the_number_of_replicas(manifests: Any) -> None:
    for autoscaler in manifests.of("HorizontalPodAutoscaler"):
        target = autoscaler["spec"]["scaleTargetRef"]
        deployment = manifests.one(target["kind"], target["name"])
        assert target["apiVersion"] == deployment["apiVersion"]
        assert "replicas" not in deployment["spec"], "applying would reset what the autoscaler chose"


def test_a_pod_with_a_volume_of_its_own_stays_one(manifests: Any) -> None:
    """Local collections of two replicas would diverge, and a rollout could not mount the volume twice."""
    claims = {it["metadata"]["name"]: it for it in manifests.of("PersistentVolumeClaim")}
    for deployment in manifests.of("Deployment"):
        used = [
            it["persistentVolumeClaim"]["claimName"]
            for it in pod(deployment)["volumes"]
            if "persistentVolumeClaim" in it
        ]
        assert set(used) <= claims.keys()
        bounds = [
            it["spec"]["maxReplicas"]
            for it in manifests.of("HorizontalPodAutoscaler")
            if it["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
        ]
        if used:
            assert all(claims[name]["spec"]["accessModes"] == ["ReadWriteOnce"] for name in used)
            assert deployment["spec"]["strategy"] == {"type": "Recreate"}
            assert bounds in ([], [1])


def test_shared_collections_let_the_gateway_scale(production: Any) -> None:
    autoscaler = production.one("HorizontalPodAutoscaler", "clipserve-gateway")
    assert autoscaler["spec"]["maxReplicas"] > autoscaler["spec"]["minReplicas"] > 1
    gateway = production.one("Deployment", "clipserve-gateway")
    assert gateway["spec"]["strategy"]["type"] == "RollingUpdate"
    assert production.settings["CLIPSERVE_DATA"] == "s3://your-bucket/collections"
    assert not production.of("PersistentVolumeClaim")


def test_collections_in_milvus_let_the_gateway_scale_and_reach_it(milvus: Any) -> None:
    autoscaler = milvus.one("HorizontalPodAutoscaler", "clipserve-gateway")
    assert autoscaler["spec"]["maxReplicas"] > autoscaler["spec"]["minReplicas"] > 1
    assert not milvus.of("PersistentVolumeClaim")
    found = engine_of(settings_from({"data": milvus.settings["CLIPSERVE_DATA"]}))
    assert found.name == "milvus"
    (token,) = milvus.container("gateway")["env"]
    assert token["name"] == "CLIPSERVE_MILVUS_TOKEN"
    assert token["valueFrom"]["secretKeyRef"] == {
        "name": "clipserve-milvus",
        "key": "token",
        "optional": True,
    }
    *_, way = milvus.one("NetworkPolicy", "clipserve-gateway")["spec"]["egress"]
    assert [str(it["port"]) in milvus.settings["CLIPSERVE_DATA"] for it in way["ports"]] == [True]


def test_the_gateway_reads_its_secrets_from_folders_that_change_with_them(production: Any) -> None:
    gateway = pod(production.one("Deployment", "clipserve-gateway"))
    secrets = {it["name"]: it["secret"] for it in gateway["volumes"] if "secret" in it}
    assert {it["secretName"] for it in secrets.values()} == {
        "clipserve-gateway-tls",
        "clipserve-gateway-tokens",
    }
    assert all(it["defaultMode"] == 0o440 for it in secrets.values())
    assert gateway["securityContext"]["fsGroup"] == gateway["securityContext"]["runAsGroup"]
    mounts = production.container("gateway")["volumeMounts"]
    mounted = [it for it in mounts if it["name"] in secrets]
    assert len(mounted) == len(secrets)
    assert all(it["readOnly"] and "subPath" not in it for it in mounted)


def test_a_port_with_tls_is_not_called_plain(production: Any, gpu: Any) -> None:
    def protocol(manifests: Any) -> str:
        (port,) = (
            it
            for it in manifests.one("Service", "clipserve-gateway")["spec"]["ports"]
            if it["name"] == "grpc"
        )
        assert port["targetPort"] == "grpc"
        return str(port["appProtocol"])

    assert (protocol(production), protocol(gpu)) == ("https", "kubernetes.io/h2c")


def test_network_policies_deny_all_but_what_is_named(manifests: Any) -> None:
    deny = manifests.one("NetworkPolicy", "clipserve-default-deny")["spec"]
    assert len(manifests.selected(deny["podSelector"]["matchLabels"])) == len(manifests.of("Deployment"))
    assert deny.keys() == {"podSelector", "policyTypes"}
    for policy in manifests.of("NetworkPolicy"):
        assert policy["spec"]["policyTypes"] == ["Ingress", "Egress"]


def test_only_the_gateway_calls_triton_and_only_monitoring_scrapes(manifests: Any) -> None:
    gateway = manifests.one("Deployment", "clipserve-gateway")
    triton = manifests.one("Deployment", "clipserve-triton")
    monitoring = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}

    spec = manifests.one("NetworkPolicy", "clipserve-triton")["spec"]
    assert manifests.selected(spec["podSelector"]["matchLabels"]) == [triton]
    calls, scrapes = spec["ingress"]
    (caller,) = calls["from"]
    assert caller.keys() == {"podSelector"}, "of this namespace"
    assert manifests.selected(caller["podSelector"]["matchLabels"]) == [gateway]
    assert [it["port"] for it in calls["ports"]] == ["grpc"]
    guard = ports([manifests.container("guard")])["guard"]
    assert scrapes == {"from": [monitoring], "ports": [{"port": "metrics"}, {"port": guard}]}
    assert "egress" not in spec, "Triton calls nobody"

    spec = manifests.one("NetworkPolicy", "clipserve-gateway")["spec"]
    assert manifests.selected(spec["podSelector"]["matchLabels"]) == [gateway]
    calls, scrapes = spec["ingress"]
    assert [it["port"] for it in calls["ports"]] == ["grpc"]
    assert scrapes == {"from": [monitoring], "ports": [{"port": "http"}]}
    dns, inference, *_ = spec["egress"]
    assert [it["port"] for it in dns["ports"]] == [53, 53]
    (callee,) = inference["to"]
    assert manifests.selected(callee["podSelector"]["matchLabels"]) == [triton]
    assert [it["port"] for it in inference["ports"]] == [ports(pod(triton)["containers"])["grpc"]]


def test_only_shared_collections_open_a_way_out_of_the_cluster(gpu: Any, production: Any) -> None:
    def world(manifests: Any) -> int:
        rules = [rule for it in manifests.of("NetworkPolicy") for rule in it["spec"].get("egress", [])]
        return sum(
            peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0" for rule in rules for peer in rule["to"]
        )

    assert world(gpu) == 0
    assert world(production) == 1


def may_send(policy: dict[str, Any], address: str, port: int) -> bool:
    """Whether a policy lets packets out to an address that is no pod's."""
    return any(
        ipaddress.ip_address(address) in ipaddress.ip_network(peer["ipBlock"]["cidr"])
        for rule in policy["spec"]["egress"]
        if port in (it["port"] for it in rule["ports"])
        for peer in rule["to"]
        if "ipBlock" in peer
    )


@pytest.mark.parametrize("address", ["169.254.20.10", "169.254.169.254"])
def test_names_are_looked_up_at_the_node_too(manifests: Any, address: str) -> None:
    policy = manifests.one("NetworkPolicy", "clipserve-gateway")
    assert may_send(policy, address, 53), "NodeLocal DNSCache; GKE's Cloud DNS"
    assert not may_send(policy, "8.8.8.8", 53)


def test_shared_collections_reach_the_store_and_the_identity_of_their_pod(gpu: Any, production: Any) -> None:
    policy = production.one("NetworkPolicy", "clipserve-gateway")
    ways = [("52.216.0.1", 443), ("169.254.170.23", 80), ("fd00:ec2::23", 80), ("169.254.169.252", 988)]
    for address, port in ways:
        assert may_send(policy, address, port)
        assert not may_send(gpu.one("NetworkPolicy", "clipserve-gateway"), address, port)
    in_cluster = [
        (peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"], rule["ports"][0]["port"])
        for rule in policy["spec"]["egress"]
        for peer in rule["to"]
        if "namespaceSelector" in peer
    ]
    assert ("minio", 9000) in in_cluster


COMPONENTS = sorted(path.name for path in (KUSTOMIZE / "components").iterdir())


@pytest.mark.parametrize("component", COMPONENTS)
@pytest.mark.parametrize("overlay", ["cpu-dev", "gpu"])
def test_every_overlay_takes_every_component(render_with: Any, overlay: str, component: str) -> None:
    manifests = render_with(overlay, component)
    for it in manifests.objects:
        kubernetes_validate.validate(it, OLDEST, strict=True)
    gateway = manifests.one("Deployment", "clipserve-gateway")
    claimed = any("persistentVolumeClaim" in it for it in pod(gateway)["volumes"])
    assert claimed == bool(manifests.of("PersistentVolumeClaim"))
    assert claimed == (component in ("http-api", "load-balancer", "security"))


def test_a_load_balancer_outside_of_the_cluster_reaches_the_gateways_calls_alone(render_with: Any) -> None:
    policy = render_with("gpu", "load-balancer").one("NetworkPolicy", "clipserve-gateway")["spec"]
    outside = [rule for rule in policy["ingress"] if any("ipBlock" in peer for peer in rule["from"])]
    assert [rule["ports"] for rule in outside] == [[{"port": "grpc"}, {"port": "api"}]]


def test_pods_keep_the_restricted_security_standard(manifests: Any) -> None:
    for deployment in manifests.of("Deployment"):
        spec = pod(deployment)
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security["runAsUser"] > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        account = manifests.one("ServiceAccount", spec["serviceAccountName"])
        assert account["automountServiceAccountToken"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
        assert all(it.keys() & {"emptyDir", "persistentVolumeClaim", "secret"} for it in spec["volumes"])
    for _, container in manifests.containers():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }


def test_services_inject_no_variables(manifests: Any) -> None:
    """A Service named clipserve… would set CLIPSERVE_… variables, which are settings."""
    assert all(spec["enableServiceLinks"] is False for spec, _ in manifests.containers())


def test_containers_have_resources_and_pinned_images(manifests: Any) -> None:
    for _, container in manifests.containers():
        assert container["resources"]["requests"].keys() >= {"cpu", "memory"}
        assert container["resources"]["limits"].keys() >= {"cpu", "memory"}
        name, _, tag = container["image"].rpartition(":")
        assert name, f"{container['image']} has no tag"
        assert tag != "latest"


def test_volumes_are_mounted_and_bounded(manifests: Any) -> None:
    for deployment in manifests.of("Deployment"):
        spec = pod(deployment)
        containers = spec.get("initContainers", []) + spec["containers"]
        mounted = {mount["name"] for it in containers for mount in it.get("volumeMounts", [])}
        assert mounted == {it["name"] for it in spec["volumes"]}
        assert all("sizeLimit" in it["emptyDir"] for it in spec["volumes"] if "emptyDir" in it)


def test_triton_gets_its_models_read_only_from_the_init_container(manifests: Any) -> None:
    models, triton = manifests.container("models"), manifests.container("triton")
    (source,) = models["volumeMounts"]
    assert models["args"] == [source["mountPath"]]
    (target,) = (it for it in triton["volumeMounts"] if it["name"] == source["name"])
    assert target["readOnly"] is True
    assert f"--model-repository={target['mountPath']}" in triton["args"]
    (shm,) = (it for it in triton["volumeMounts"] if it["mountPath"] == "/dev/shm")
    volumes = {it["name"]: it for it in pod(manifests.one("Deployment", "clipserve-triton"))["volumes"]}
    assert volumes[shm["name"]]["emptyDir"]["medium"] == "Memory"


def test_probes_ask_the_containers_own_ports_by_name_and_a_neighbors_by_number(manifests: Any) -> None:
    for deployment in manifests.of("Deployment"):
        containers = manifests.restarting(deployment)
        for container in containers:
            asked = [probe["httpGet"]["port"] for name, probe in container.items() if name.endswith("Probe")]
            assert len(asked) >= 2
            others = ports([it for it in containers if it is not container])
            assert all(it in ports([container]) or it in others.values() for it in asked)


def test_the_guard_watches_triton_from_before_it_starts_until_it_has_ended(manifests: Any) -> None:
    triton = pod(manifests.one("Deployment", "clipserve-triton"))
    assert [it["name"] for it in triton["initContainers"]] == ["models", "guard"]
    guard = manifests.container("guard")
    assert guard["restartPolicy"] == "Always", "a sidecar: the others start after it and end before it"
    assert guard["startupProbe"], "Triton starts when the guard works"
    assert guard["image"] == manifests.container("gateway")["image"]


def test_triton_that_is_judged_dead_is_not_kept_waiting_for_callers_to_leave(manifests: Any) -> None:
    triton = manifests.container("triton")
    grace = triton["livenessProbe"]["terminationGracePeriodSeconds"]
    assert grace < triton.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 75)


def test_gpus_are_asked_for_on_nodes_that_have_them(manifests: Any, gpu: Any) -> None:
    triton = pod(gpu.one("Deployment", "clipserve-triton"))
    assert "nodeSelector" not in triton, (
        "a label that only GPU Feature Discovery gives would leave pods Pending"
    )
    (toleration,) = triton["tolerations"]
    assert (toleration["key"], toleration["operator"]) == ("nvidia.com/gpu", "Exists")
    assert gpu.container("triton")["resources"]["limits"]["nvidia.com/gpu"] == "1", "one Triton to a GPU"
    asks = "nvidia.com/gpu" in manifests.container("triton")["resources"]["limits"]
    assert asks == ("tolerations" in pod(manifests.one("Deployment", "clipserve-triton")))


def test_the_settings_are_those_of_the_generated_config_map(manifests: Any) -> None:
    (config,) = manifests.of("ConfigMap")
    reference = manifests.container("gateway")["envFrom"][0]["configMapRef"]["name"]
    assert reference == config["metadata"]["name"]
    assert reference != "clipserve-gateway", "the hash restarts the gateway when a setting changes"
