"""Releases a region by letting go of a workload that was deployed paused."""

from urllib.parse import quote

from actions.cluster import ClusterApi, JsonObject, still_there, template_digest, write_guarded
from actions.marks import COMMIT, HELD_BY, RELEASED_BY
from actions.plan import Step
from actions.ports import Conflict, Permanent, StepState
from actions.trains.planner import Bound
from actions.trains.settings import Paused

NAME = "unpause"
_GROUPS = {"Deployment": "/apis/apps/v1", "Rollout": "/apis/argoproj.io/v1alpha1"}
"""API group and version of each kind that has ``spec.paused``."""


class Unpause:
    """Removes ``spec.paused``; implements ``actions.trains.lever.Lever``.

    The workload must say by the annotation ``rollbackd.io/commit`` that it has the train's release:
    what waits there may be another one. A pause that came after ours was removed is somebody's
    wish, and so is one with the mark of a watch that holds it; both are left alone.

    Args:
        api: the calls to the region's cluster. paused: the workload.
    """

    def __init__(self, api: ClusterApi, paused: Paused) -> None:
        self._api = api
        self._paused = paused

    def draft(self, bound: Bound) -> Step:
        """Return the step, or raise Permanent with the reason why there is none."""
        found = self._api.get(_path(self._paused))
        if found is None or found["metadata"].get("deletionTimestamp"):
            raise Permanent(f"{self._paused} does not exist in {bound.region}")
        carried = _annotations(found).get(COMMIT, "")
        if carried != bound.release:
            has = f"says {carried}" if carried else "does not say"
            raise Permanent(
                f"{self._paused} in {bound.region} {has} by {COMMIT} what it has, and the train "
                f"carries {bound.release}; deploy it there, paused, and annotate it"
            )
        images = ", ".join(
            str(each.get("image"))
            for each in found["spec"].get("template", {}).get("spec", {}).get("containers", ())
        )
        return Step(
            actuator=NAME,
            target={
                "region": bound.region,
                "kind": self._paused.kind,
                "namespace": self._paused.namespace,
                "name": self._paused.name,
                "uid": found["metadata"]["uid"],
            },
            expected={"commit": bound.release, "template": template_digest(found), "paused": True},
            desired={
                "paused": False,
                "mark": bound.mark,
                "summary": f"let {self._paused} in {bound.region} go on with {bound.release}"
                f" ({images})",
            },
        )

    def inspect(self, step: Step) -> StepState:
        """Compare the workload with the step: whether it waits, goes on, or is another by now."""
        found = self._found(step)
        if found is None or not _is_as_planned(step, found):
            return StepState.MOVED_ON
        if not _waits(found):
            return StepState.DONE
        again = _annotations(found).get(RELEASED_BY) == step.desired["mark"]
        return StepState.MOVED_ON if again else StepState.PENDING

    def perform(self, step: Step) -> None:
        """Remove the pause, guarded by the version of the workload just read."""

        def change(found: JsonObject) -> list[JsonObject] | None:
            if not _is_as_planned(step, found):
                raise Conflict(f"{self._paused} no longer has {step.expected['commit']}")
            if not _waits(found):
                return None
            marked = _annotations(found) | {RELEASED_BY: step.desired["mark"]}
            return [
                {"op": "add", "path": "/metadata/annotations", "value": marked},
                {"op": "remove", "path": "/spec/paused"},
            ]

        path = _path(self._paused)
        write_guarded(self._api, path, str(self._paused), lambda: self._found(step), change)

    def _found(self, step: Step) -> JsonObject | None:
        return still_there(self._api.get(_path(self._paused)), step.target["uid"])


def _path(paused: Paused) -> str:
    """Return where the API server has a workload."""
    namespace, name = quote(paused.namespace), quote(paused.name)
    return f"{_GROUPS[paused.kind]}/namespaces/{namespace}/{paused.kind.lower()}s/{name}"


def _waits(found: JsonObject) -> bool:
    """Tell whether it is paused by whoever deployed it; a watch's own hold means that it runs."""
    return bool(found["spec"].get("paused")) and HELD_BY not in _annotations(found)


def _is_as_planned(step: Step, found: JsonObject) -> bool:
    carried = _annotations(found).get(COMMIT, "")
    planned = (step.expected["commit"], step.expected["template"])
    return (carried, template_digest(found)) == planned


def _annotations(found: JsonObject) -> dict[str, str]:
    return dict(found["metadata"].get("annotations") or {})
