"""What is allowed, and still worth a look before the daemon runs on this machine."""

import shutil
from collections.abc import Iterator

from analyzer.signal import HistogramSignal
from rollbackd.config.loading import load_static_rollouts
from rollbackd.config.problems import ConfigError
from rollbackd.config.secrets import SecretError
from rollbackd.config.settings import Config, NginxSwitchSettings, RecordedSettings, ScrapeSettings


def notes(config: Config) -> Iterator[str]:
    """Yield one sentence for each thing; reads files and the environment, changes nothing."""
    for key, secret in config.secrets().items():
        try:
            secret.read()
        except SecretError as error:
            yield f"{key}: {error}"
    yield from _source(config)
    static_file = config.rollouts.static_file
    if static_file is not None and not static_file.exists():
        yield f"rollouts.static_file: {static_file} does not exist yet"
    elif static_file is not None:
        try:
            load_static_rollouts(static_file)
        except ConfigError as error:
            yield from (f"{static_file}: {problem}" for problem in error.problems)
    for action in config.actions:
        if isinstance(action, NginxSwitchSettings) and shutil.which(action.nginx) is None:
            yield f'action "{action.name}": there is no program {action.nginx} on this machine'
    yield from _policies(config)


def _source(config: Config) -> Iterator[str]:
    source = config.source
    if isinstance(source, RecordedSettings):
        for file in source.files:
            if not file.is_file():
                yield f"source.recorded.files: {file} does not exist yet"
    if isinstance(source, ScrapeSettings):
        if source.targets_file is not None:
            if not source.targets_file.exists():
                yield f"source.scrape.targets_file: {source.targets_file} does not exist yet"
            return
        scraped = {target.address for target in source.targets}
        for rollout in config.rollouts.static:
            wanted = {*rollout.baseline.instances, *rollout.canary.instances}
            absent = sorted(wanted - scraped)
            if rollout.id_label == "instance" and absent:
                yield f'rollout "{rollout.name}": {", ".join(absent)} is not among the targets'


def _policies(config: Config) -> Iterator[str]:
    for i, rule in enumerate(config.policies):
        policy = rule.policy
        match = rule.match
        if not (match.namespaces or match.names or match.labels) and i + 1 < len(config.policies):
            yield (
                f'policy "{policy.name}" matches everything: those below it are used only by '
                "workloads that name them"
            )
        if policy.blind_after_s < 2 * config.tick_s:
            yield f'policy "{policy.name}": blind_after is less than two ticks; one lost scrape is blindness'
        for signal in policy.signals:
            if isinstance(signal, HistogramSignal) and not signal.buckets.metric.endswith(
                "_bucket"
            ):
                yield (
                    f'signal "{signal.name}": {signal.buckets.metric} does not end in _bucket; '
                    "classic buckets usually do, native histograms do not"
                )
