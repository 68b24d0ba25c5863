"""``rollbackd validate``: every problem of a file, or what it would make the daemon do."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollbackd.cli.configuration import load_or_exit

if TYPE_CHECKING:
    from analyzer.policy import Policy
    from rollbackd.config import Config
    from rollbackd.config.region_settings import RegionsSettings
    from rollbackd.config.settings import Match

MAY_DO = {
    "observe": "does nothing, only says what it would do",
    "approve": "acts when a person approves",
    "enforce": "acts at once",
}


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
def validate(file: Path) -> None:
    """Check a configuration FILE.

    Prints what would be watched and what may be done about it; or every problem, and exits with 2.
    Connects to nothing.
    """
    config = load_or_exit(file)
    from rollbackd.config.notes import notes  # noqa: PLC0415 - after pydantic has been paid for

    click.secho(f"{file}: valid", fg="green")
    for line in summary(config):
        click.echo(line)
    for note in notes(config):
        click.secho(f"\nnote: {note}", fg="yellow")


def summary(config: "Config") -> Iterator[str]:
    """Yield what the daemon would look at, and what each policy may do about it."""
    from rollbackd.config.quantities import format_duration  # noqa: PLC0415 - as above

    yield ""
    yield f"  source    {_source(config)}"
    for rollout in _rollouts(config):
        yield f"  rollouts  {rollout}"
    yield f"  journal   {config.journal.url}"
    yield f"  http      {config.http.host}:{config.http.port}"
    yield f"  tick      {format_duration(config.tick_s)}"
    for rule in config.policies:
        policy = rule.policy
        using = f": {', then '.join(policy.actuators)}" if policy.actuators else ""
        yield ""
        yield f"  policy {policy.name}, for {_match(rule.match)}"
        yield f"    {policy.mode:8}  {MAY_DO[policy.mode]}{using}"
        yield from _signals(policy)
    if config.regions is not None:
        yield from _regions(config.regions)


def _regions(regions: "RegionsSettings") -> Iterator[str]:
    mode = regions.moves.mode
    yield ""
    yield f"  regions {', '.join(member.name for member in regions.members)}"
    yield f"    {mode:8}  {MAY_DO[mode]}"
    for record in regions.records:
        yield f"    {'record':8}  {record.name} {record.type}, in {record.dns}"
    yield from _signals(regions.compare)


def _source(config: "Config") -> str:
    from rollbackd.config.settings import PrometheusSettings, ScrapeSettings  # noqa: PLC0415

    source = config.source
    if isinstance(source, PrometheusSettings):
        return f"Prometheus at {source.url}"
    if isinstance(source, ScrapeSettings):
        extra = f" and those in {source.targets_file}" if source.targets_file else ""
        return f"{len(source.targets)} targets, scraped{extra}"
    return f"recorded data in {', '.join(map(str, source.files))}"


def _rollouts(config: "Config") -> Iterator[str]:
    rollouts = config.rollouts
    if rollouts.kubernetes is not None:
        kubernetes = rollouts.kubernetes
        where = ", ".join(kubernetes.namespaces) or "all namespaces"
        chosen = f" with {kubernetes.label_selector}" if kubernetes.label_selector else ""
        yield f"Deployments of cluster {kubernetes.cluster}, {where}{chosen}"
    for static in rollouts.static:
        yield (
            f"{static.namespace}/{static.name}: {static.baseline.label} "
            f"({len(static.baseline.instances)} instances) → {static.canary.label} "
            f"({len(static.canary.instances)})"
        )
    if rollouts.static_file is not None:
        yield f"those in {rollouts.static_file}"


def _match(match: "Match") -> str:
    parts = []
    if match.namespaces:
        parts.append(f"namespace {' or '.join(match.namespaces)}")
    if match.names:
        parts.append(f"name {' or '.join(match.names)}")
    parts.extend(f"{key}={value}" for key, value in match.labels.items())
    return ", ".join(parts) or "every rollout"


def _signals(policy: "Policy") -> Iterator[str]:
    from analyzer.signal import series_of  # noqa: PLC0415 - as above

    width = max(8, *(len(signal.name) for signal in policy.signals))
    weights = policy.weights
    for signal in policy.signals:
        what = series_of(signal)
        share = f", {weights[signal.name]:.0%} of α" if signal.name in weights else ""
        yield f"    {signal.name:{width}}  {what}"
        yield (
            f"    {'':{width}}  {signal.tier}{share}; harmful from ×{signal.margin:g}, "
            f"healthy below ×{signal.harm:g}"
        )
