"""The smallest manifests which tests against the fake need."""

from __future__ import annotations

from .objects.metadata import JsonObject


def deployment(
    name: str = "shop", *, image: str = "shop:1", replicas: int = 2, **spec: object
) -> JsonObject:
    """Return a Deployment of one container `app`; `spec` adds to its spec."""
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "app", "image": image}]},
            },
            **spec,
        },
    }


def image_patch(image: str) -> JsonObject:
    """Return the merge patch that gives such a Deployment another image: a new revision."""
    return {"spec": {"template": {"spec": {"containers": [{"name": "app", "image": image}]}}}}


def config_map(name: str, **labels: str) -> JsonObject:
    """Return an empty ConfigMap with labels."""
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata}


def custom_kind(group: str, version: str, plural: str, kind: str) -> JsonObject:
    """Return the CustomResourceDefinition of a namespaced kind with a status subresource."""
    served = {
        "name": version,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "schema": {
            "openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
        },
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [served],
        },
    }
