"""One Deployment as values, look after look: for tests that need no server."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from hypothesis import strategies as st

from analyzer.rollout import Rollout
from rollbackd.rollouts.derivation import NO_MEMORY, Memory, Reading, derive
from rollbackd.rollouts.objects import Deployment, Pod, ReplicaSet
from rollbackd.rollouts.revisions import families

NOW = 100_000.0
READING = Reading(cluster="prod", follow_for_s=600.0)


def deployment(template: str, **fields: object) -> Deployment:
    usual = Deployment(
        uid="shop",
        namespace="team",
        name="shop",
        replicas=3,
        template=template,
        revision=2,
        is_observed=True,
        is_paused=False,
        is_deleting=False,
        policy=None,
        labels={"app": "shop"},
        said={},
        rolled_back_from="",
        rolled_back_to="",
    )
    return replace(usual, **fields)  # type: ignore[arg-type]


def revision(name: str, number: int, replicas: int = 0, **fields: object) -> ReplicaSet:
    """Return a ReplicaSet whose UID, hash and template are all ``name``."""
    usual = ReplicaSet(
        uid=name,
        deployment="shop",
        hash=name,
        replicas=replicas,
        template=name,
        revision=number,
        was_current_before=False,
        created_at=NOW - 10_000.0 + 1000.0 * number,
        rolled_back_from="",
        rolled_back_to="",
    )
    return replace(usual, **fields)  # type: ignore[arg-type]


def pods(name: str, count: int, *, ready: int | None = None, created_at: float = 0.0) -> list[Pod]:
    return [
        Pod(
            replica_set=name,
            namespace="team",
            name=f"shop-{name}-{number}",
            created_at=created_at or NOW - 50.0,
            started_at=(created_at or NOW - 50.0) + 5.0,
            is_ready=number < (count if ready is None else ready),
            is_terminating=False,
        )
        for number in range(count)
    ]


@dataclass
class World:
    """One Deployment as it is seen, look after look."""

    deployment: Deployment
    replica_sets: list[ReplicaSet]
    pods: list[Pod]
    reading: Reading = READING
    memory: Memory = field(default_factory=lambda: NO_MEMORY)
    now: float = NOW

    def look(self) -> Rollout | None:
        seen = families([self.deployment], self.replica_sets, self.pods)
        found, self.memory = derive(seen, self.reading, self.memory, self.now)
        assert len(found) <= 1
        return found[0] if found else None


def under_way(**fields: object) -> World:
    """Return a Deployment half way from v1 to v2."""
    return World(
        deployment(**{"template": "v2", **fields}),  # type: ignore[arg-type]
        [revision("v1", 1, 2), revision("v2", 2, 1)],
        [*pods("v1", 2), *pods("v2", 1)],
    )


def done(age_s: float, **fields: object) -> World:
    """Return a Deployment that finished its way from v1 to v2, which is ``age_s`` old."""
    return World(
        deployment("v2", **fields),
        [revision("v1", 1), revision("v2", 2, 3, created_at=NOW - age_s)],
        pods("v2", 3),
    )


NAMES = ("v1", "v2", "v3", "v4")


@st.composite
def worlds(draw: st.DrawFn) -> World:
    numbers = draw(st.permutations(range(1, len(NAMES) + 1)))
    replica_sets: list[ReplicaSet] = []
    found: list[Pod] = []
    for name, number in zip(NAMES, numbers, strict=True):
        count = draw(st.integers(0, 3))
        replica_sets.append(
            revision(
                name,
                number,
                draw(st.integers(0, 3)),
                template=draw(st.sampled_from(NAMES)),
                was_current_before=draw(st.booleans()),
                rolled_back_from=draw(st.sampled_from(["", *NAMES])),
                rolled_back_to=draw(st.sampled_from(["", *NAMES])),
            )
        )
        ready, going = draw(st.integers(0, count)), draw(st.booleans())
        found += [replace(pod, is_terminating=going) for pod in pods(name, count, ready=ready)]
    good = tuple(draw(st.lists(st.sampled_from(NAMES), unique=True)))
    return World(
        deployment(
            draw(st.sampled_from(NAMES)),
            revision=draw(st.integers(0, 5)),
            replicas=draw(st.integers(0, 3)),
            is_observed=draw(st.booleans()),
            is_paused=draw(st.booleans()),
            rolled_back_from=draw(st.sampled_from(["", *NAMES])),
            rolled_back_to=draw(st.sampled_from(["", *NAMES])),
        ),
        replica_sets[: draw(st.integers(0, len(NAMES)))],
        found,
        reading=replace(READING, follow_for_s=1e9, known_good=lambda _: good),
    )


def shuffled(world: World, order: Sequence[int]) -> World:
    def by(index: int) -> int:
        return order[index % len(order)]

    replica_sets = [r for _, r in sorted(enumerate(world.replica_sets), key=lambda p: by(p[0]))]
    found = [p for _, p in sorted(enumerate(world.pods), key=lambda p: by(p[0]))]
    return replace(world, replica_sets=replica_sets, pods=found)
