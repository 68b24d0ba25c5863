"""What a release says about its migrations, and what follows for the way back."""

from typing import Any

import pytest

from actions.facts import SchemaBound
from actions.schema_annotations import AnnotatedSchema, schema_facts, version_of
from analyzer.rollout import Revision
from tests.kubernetes.shop import cluster, manifest, patch, rollout, settle

GOOD = Revision("uid", "5d9f1")


def template(
    image: str = "registry.test:5000/shop:v1.4.2",
    annotations: dict[str, str] | None = None,
    labels: dict[str, str] | None = None,
) -> dict[str, Any]:
    metadata = {"annotations": annotations or {}, "labels": labels or {}}
    return {"metadata": metadata, "spec": {"containers": [{"name": "app", "image": image}]}}


def found(claims: dict[str, str], baseline: dict[str, Any] | None = None) -> str:
    facts = schema_facts(template(annotations=claims), baseline or template(), GOOD)
    assert all(isinstance(fact, SchemaBound) for fact in facts)
    return "; ".join(fact.text for fact in facts if isinstance(fact, SchemaBound))


INCOMPATIBLE = "rollbackd.io/schema-incompatible-with"
LEAST = "rollbackd.io/min-rollback-revision"


def test_who_says_nothing_may_go_back() -> None:
    assert found({}) == ""
    assert found({INCOMPATIBLE: " , "}) == ""


@pytest.mark.parametrize("claim", ["1.4.2", "1.3.*, 1.4.*", "*"])
def test_a_version_that_is_named_may_not(claim: str) -> None:
    said = found({INCOMPATIBLE: claim})
    assert "says that 1.4.2 (5d9f1) does not work with it" in said


@pytest.mark.parametrize("claim", ["1.4.1", "1.4.20", "2.*"])
def test_a_version_that_is_not_named_may(claim: str) -> None:
    assert found({INCOMPATIBLE: claim}) == ""


@pytest.mark.parametrize(
    ("least", "allowed"),
    [("1.4.2", True), ("1.4", True), ("v1.3.9", True), ("1.4.10", False), ("1.5", False)],
)
def test_the_earliest_version_that_works(least: str, allowed: bool) -> None:
    assert (found({LEAST: least}) == "") is allowed


@pytest.mark.parametrize("claims", [{INCOMPATIBLE: "1.4.*"}, {LEAST: "1.4.0"}])
@pytest.mark.parametrize("image", ["shop", "shop:latest", "shop@sha256:0a1b", "r.test:5000/shop"])
def test_a_claim_about_an_unknown_version_speaks_against_going_back(
    claims: dict[str, str], image: str
) -> None:
    assert "which version 5d9f1 is cannot be told" in found(claims, template(image))


def test_a_version_that_is_a_name_cannot_be_compared_with_a_number() -> None:
    assert "cannot be told" in found({LEAST: "1.4.0"}, template("shop:blue"))
    assert "cannot be told" in found({LEAST: "blue"})


@pytest.mark.parametrize(
    ("made", "version"),
    [
        (template("shop:1.2@sha256:0a1b"), "1.2"),
        (template(labels={"app.kubernetes.io/version": "v7"}), "7"),
        (
            template(
                labels={"app.kubernetes.io/version": "7"},
                annotations={"rollbackd.io/version": "8"},
            ),
            "8",
        ),
        ({}, ""),
    ],
)
def test_where_a_version_is_found(made: dict[str, Any], version: str) -> None:
    assert version_of(made) == version


def test_the_templates_of_both_revisions_are_read_from_the_cluster() -> None:
    with cluster() as (api, connection):
        api.create(manifest("shop:1.4"))
        settle(api)
        claims = {"annotations": {LEAST: "1.5"}, "labels": {"app": "shop"}}
        containers = [{"name": "app", "image": "shop:1.5"}]
        patch(api, spec={"template": {"metadata": claims, "spec": {"containers": containers}}})
        settle(api)
        (fact,) = AnnotatedSchema(connection).facts(rollout(api, "shop:1.5", "shop:1.4"))
        assert isinstance(fact, SchemaBound)
        assert "works with 1.5 and later" in fact.text
        assert fact.certain
        back = rollout(api, "shop:1.4", "shop:1.5")
        assert AnnotatedSchema(connection).facts(back) == ()
