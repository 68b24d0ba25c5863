"""``rollbackd validate``: every problem of a file, or what it would make the daemon do."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollbackd.cli.configuration import (
    BAD_CONFIGURATION,
    is_manifest_or_exit,
    load_or_exit,
    print_problems,
)

if TYPE_CHECKING:
    from analyzer.policy import Policy
    from rollbackd.config import Config
    from rollbackd.config.region_settings import RegionsSettings
    from rollbackd.config.settings import Match, PolicyRule
    from rollbackd.config.train_settings import TrainSettings

MAY_DO = {
    "observe": "does nothing, only says what it would do",
    "approve": "acts when a person approves",
    "enforce": "acts at once",
}


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--cluster",
    is_flag=True,
    help="Ask the cluster, too, whether it grants every right that this configuration needs.",
)
@click.option(
    "--against",
    type=click.Path(path_type=Path),
    help="Configuration that RollbackPolicies are to be checked against, too: its actions and limits.",
)
def validate(file: Path, cluster: bool, against: Path | None) -> None:
    """Check a FILE: a configuration, or a manifest of RollbackPolicies.

    Prints what would be watched and what may be done about it; or every problem, and exits with 2.
    Connects to nothing, except with --cluster, which exits with 1 when a right is missing.
    """
    if is_manifest_or_exit(file):
        if cluster:
            raise click.UsageError("--cluster is for configurations")
        _validate_policies(file, against)
        return
    if against is not None:
        raise click.UsageError("--against is for manifests of RollbackPolicies")
    config = load_or_exit(file)
    from rollbackd.config.notes import notes  # noqa: PLC0415 - after pydantic has been paid for

    click.secho(f"{file}: valid", fg="green")
    for line in summary(config):
        click.echo(line)
    for note in notes(config):
        click.secho(f"\nnote: {note}", fg="yellow")
    if cluster:
        _review(config)


def _validate_policies(file: Path, against: Path | None) -> None:
    """Print what each RollbackPolicy of a manifest says; exit with 2 when any is wrong."""
    from rollbackd.config import ConfigError  # noqa: PLC0415 - as above
    from rollbackd.config.manifests import Limits, load_manifests  # noqa: PLC0415

    limits = Limits() if against is None else Limits.of(load_or_exit(against))
    try:
        found = load_manifests(file, limits)
    except ConfigError as error:
        print_problems(error)
        sys.exit(BAD_CONFIGURATION)
    click.secho(f"{file}: valid", fg="green")
    for read in found.policies:
        for line in _policy(read.rule):
            click.echo(line)
        if read.asked is not read.rule.policy.mode:
            text = f"it asks for mode {read.asked}, and {against} allows {read.rule.policy.mode}"
            click.secho(f"\nnote: {text}", fg="yellow")
    if found.others:
        kinds = ", ".join(dict.fromkeys(found.others))
        click.secho(f"\nnote: not looked at: {kinds}", fg="yellow")
    if against is None:
        text = "with --against CONFIGURATION, the names of actions are checked, too"
        click.secho(f"\nnote: {text}", fg="yellow")


def _review(config: "Config") -> None:
    """Print which rights are granted and which are missing.

    Raises:
        click.ClickException: the cluster cannot be asked, none is configured, or a right is missing.
    """
    if config.rollouts.kubernetes is None:
        raise click.ClickException("no cluster is configured under rollouts.kubernetes")
    from actions.ports import ActionError  # noqa: PLC0415 - only who asks a cluster pays for it
    from rollbackd.kubernetes.access_review import missing  # noqa: PLC0415
    from rollbackd.kubernetes.connection import Connection  # noqa: PLC0415
    from rollbackd.kubernetes.rights import needs  # noqa: PLC0415
    from rollbackd.wiring import cluster_access  # noqa: PLC0415

    wanted = needs(config)
    connection = Connection(cluster_access(config.rollouts.kubernetes))
    try:
        lacking = missing(connection, wanted)
    except ActionError as error:
        raise click.ClickException(f"the cluster cannot be asked: {error}") from error
    finally:
        connection.close()
    click.echo("\n  rights in the cluster")
    for need in wanted:
        mark = click.style("missing", fg="red") if need in lacking else "granted"
        click.echo(f"    {mark}  {need.right}, for {need.feature}")
    if lacking:
        count = f"{len(lacking)} of {len(wanted)} rights are missing"
        raise click.ClickException(f"{count}; grant them, or disable what needs them")


def summary(config: "Config") -> Iterator[str]:
    """Yield what the daemon would look at, and what each policy may do about it."""
    from rollbackd.config.quantities import format_duration  # noqa: PLC0415 - as above

    yield ""
    yield f"  source    {_source(config)}"
    for rollout in _rollouts(config):
        yield f"  rollouts  {rollout}"
    yield f"  journal   {config.journal}"
    yield f"  http      {config.http.host}:{config.http.port}"
    yield f"  tick      {format_duration(config.tick_s)}"
    for notifier in config.notifiers:
        kind = type(notifier.receiver).__name__.removesuffix("Settings")
        told = "of trouble only" if notifier.only_trouble else "of every rollout"
        yield f"  notifier  {notifier.name} ({kind}) is told {told}"
    for rule in config.policies:
        yield from _policy(rule)
    if config.regions is not None:
        yield from _regions(config.regions)
    for train in config.trains:
        yield from _train(train)


def _policy(rule: "PolicyRule") -> Iterator[str]:
    policy = rule.policy
    using = f": {', then '.join(policy.actuators)}" if policy.actuators else ""
    yield ""
    yield f"  policy {policy.name}, for {_match(rule.match)}"
    yield f"    {policy.mode:8}  {MAY_DO[policy.mode]}{using}"
    yield from _signals(policy)


def _regions(regions: "RegionsSettings") -> Iterator[str]:
    mode = regions.moves.mode
    yield ""
    yield f"  regions {', '.join(member.name for member in regions.members)}"
    yield f"    {mode:8}  {MAY_DO[mode]}"
    for record in regions.records:
        yield f"    {'record':8}  {record.name} {record.type}, in {record.dns}"
    yield from _signals(regions.compare)


def _train(train: "TrainSettings") -> Iterator[str]:
    mode = train.policy.mode
    doing = {
        "observe": "says when the next region may be released",
        "approve": "releases the next region when a person approves",
        "enforce": "releases the next region at once",
    }
    then = {"stop": "stops", "roll_back": "stops, and takes the release back where it is"}
    yield ""
    yield f"  train {train.name}: {' → '.join(stop.region for stop in train.stops)}"
    yield f"    {mode:8}  {doing[mode]}; after a failure it {then[train.policy.on_failure]}"


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
        kinds = ", ".join(kubernetes.kinds)
        yield f"{kinds} of cluster {kubernetes.cluster}, {where}{chosen}"
        if (resources := kubernetes.policy_resources) is not None:
            using = ", ".join(config.resource_actions) or "no action"
            yield f"under RollbackPolicies, too: mode {resources.mode} at most, with {using}"
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
    if match.kinds:
        parts.append(f"kind {' or '.join(match.kinds)}")
    parts.extend(f"{key}={value}" for key, value in match.labels.items())
    return ", ".join(parts) or "every rollout"


def _signals(policy: "Policy") -> Iterator[str]:
    from analyzer.signal import TraceSignal, series_of  # noqa: PLC0415 - as above

    width = max([8, *(len(signal.name) for signal in policy.signals)])
    weights = policy.weights
    if policy.discovers:
        yield "    ready-made signals, found when a watch begins; see: rollbackd signals"
    for signal in policy.signals:
        if isinstance(signal, TraceSignal):
            of = ", ".join(signal.services) or "the rollout's instances"
            what = f"traces of {of}, {signal.operations} operations at most"
        else:
            what = str(series_of(signal))
        share = f", {weights[signal.name]:.0%} of α" if signal.name in weights else ""
        yield f"    {signal.name:{width}}  {what}"
        yield (
            f"    {'':{width}}  {signal.tier}{share}; harmful from ×{signal.margin:g}, "
            f"healthy below ×{signal.harm:g}"
        )
