"""A cluster on the fake API server, and the rollouts that are seen in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from analyzer.rollout import Rollout
from analyzer.sample import Missing
from rollbackd.kubernetes.connection import Connection
from rollbackd.kubernetes.reflector import Pace
from rollbackd.rollouts.derivation import Reading
from rollbackd.rollouts.kubernetes import KubernetesRollouts
from tests.fakes.kube_api import FakeKubeApi
from tests.kubernetes.shop import cluster

QUICK = Pace(watch_s=5.0, stale_s=6.0, first_wait_s=0.02, longest_wait_s=0.1, short_watch_s=0.05)


@dataclass
class Stage:
    """A cluster and the rollouts that are seen in it."""

    api: FakeKubeApi
    connection: Connection
    source: KubernetesRollouts

    def seen(self) -> list[Rollout]:
        found = self.source.rollouts()
        assert not isinstance(found, Missing), found
        return list(found)

    def until(self, *canaries: int) -> list[Rollout]:
        """Wait until the rollouts have so many canary instances; return them."""

        def are_there(_: FakeKubeApi) -> bool:
            return [len(rollout.canary_instances) for rollout in self.seen()] == list(canaries)

        self.api.wait_until(are_there, what=f"canaries {canaries}")
        return self.seen()


@contextmanager
def staged() -> Iterator[Stage]:
    """Run an empty cluster and follow it."""
    with cluster() as (api, connection):
        source = KubernetesRollouts(connection, Reading(cluster="test"), pace=QUICK)
        source.start()
        assert source.wait_synced(30.0)
        yield Stage(api, connection, source)
        source.close()
