import pytest

from tests.helm.helm_program import HELM_3, HELM_4, Helm, helm


@pytest.fixture(scope="session", params=[HELM_3, HELM_4], ids=["helm3", "helm4"])
def any_helm(request: pytest.FixtureRequest) -> Helm:
    return helm(request.param)


@pytest.fixture(scope="session")
def helm4() -> Helm:
    return helm(HELM_4)
