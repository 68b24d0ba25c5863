"""``actions``: the named actuators that policies may use."""

from pathlib import Path

from pydantic import Field, ValidationInfo, field_validator

from rollbackd.config import settings
from rollbackd.config.models.base import Bool, Model, Name, Text, Url, path
from rollbackd.config.quantities import fault, shown


def _two_groups(canary: list[str], info: ValidationInfo) -> list[str]:
    both = sorted(set(canary) & set(info.data.get("baseline_servers", ())))
    if both:
        raise fault(f"{shown(both[0])} is in both groups", "a server runs one version")
    return canary


class KubernetesRollbackModel(Model):
    """Roll the workload back to its last known-good revision. ``{}`` takes every default."""

    delete_stuck_pods: Bool = False
    """A StatefulSet that keeps its pods in order waits for pods that cannot start; true: such pods
    of the bad revision are deleted after the rollback, as nothing else lets it take effect."""


class NginxSwitchModel(Model):
    """Switch an NGINX upstream to the baseline's servers: write, nginx -t, reload, verify."""

    upstream_file: Text
    """File with the upstream block; rollbackd owns it, nginx.conf includes it."""
    upstream: Name
    """Name of the upstream block."""
    nginx: Text = "nginx"
    """The NGINX program."""
    config: Text | None = None
    """NGINX's main configuration file; default: the program's own."""
    pid_file: Text | None = None
    """Where NGINX writes its process id; default: what its configuration says."""
    probe: Url | None = None
    """Address that must answer after the reload; default: none is asked."""
    baseline_servers: list[Text] = Field(default_factory=list)
    """Servers that run the baseline, spelt as in the block; default: the rollout's instances."""
    canary_servers: list[Text] = Field(default_factory=list)
    """Servers that run the canary, spelt as in the block; default: the rollout's instances."""

    _check_servers = field_validator("canary_servers")(_two_groups)


class SplitterSwitchModel(Model):
    """Switch the built-in traffic splitter to the baseline."""

    file: Text
    """File that the splitter reads."""
    baseline_servers: list[Text] = Field(default_factory=list)
    """Servers that run the baseline, spelt as in the file; default: the rollout's instances."""
    canary_servers: list[Text] = Field(default_factory=list)
    """Servers that run the canary, spelt as in the file; default: the rollout's instances."""

    _check_servers = field_validator("canary_servers")(_two_groups)


class ActionModel(Model, json_schema_extra={"minProperties": 2, "maxProperties": 2}):
    """A name and exactly one kind of action."""

    name: Name
    """What policies call it."""
    kubernetes_rollback: KubernetesRollbackModel | None = Field(
        default=None, alias="kubernetes-rollback"
    )
    """Roll a workload back."""
    nginx_switch: NginxSwitchModel | None = Field(default=None, alias="nginx-switch")
    """Switch an NGINX upstream."""
    splitter_switch: SplitterSwitchModel | None = Field(default=None, alias="splitter-switch")
    """Switch the built-in splitter."""

    def settings(self, base: Path) -> settings.ActionSettings:
        """Return the frozen settings of the one kind that is there."""
        if self.nginx_switch is not None:
            nginx = self.nginx_switch
            return settings.NginxSwitchSettings(
                name=self.name,
                upstream_file=base / Path(nginx.upstream_file).expanduser(),
                upstream=nginx.upstream,
                nginx=nginx.nginx,
                config=path(base, nginx.config),
                pid_file=path(base, nginx.pid_file),
                probe=nginx.probe,
                baseline_servers=tuple(nginx.baseline_servers),
                canary_servers=tuple(nginx.canary_servers),
            )
        if self.splitter_switch is not None:
            splitter = self.splitter_switch
            return settings.SplitterSwitchSettings(
                name=self.name,
                file=base / Path(splitter.file).expanduser(),
                baseline_servers=tuple(splitter.baseline_servers),
                canary_servers=tuple(splitter.canary_servers),
            )
        rollback = self.kubernetes_rollback or KubernetesRollbackModel()
        return settings.KubernetesRollbackSettings(self.name, rollback.delete_stuck_pods)
