"""``rollbackd signals``: the ready-made signals, and which of them a source can answer."""

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rollbackd.cli.configuration import DEFAULT, config_option, load_or_exit

if TYPE_CHECKING:
    from analyzer.signal import RatioSignal
    from rollbackd.catalogue import Discovery
    from rollbackd.config import Config

UNANSWERED = 1
"""Exit code when the source could not be asked."""


@click.command()
@config_option
@click.option("--label", "-l", "labels", multiple=True, help="Label that identifies an instance.")
@click.option(
    "--instance",
    "-i",
    "instances",
    multiple=True,
    help="Values of the labels, with commas between them; default: every instance of a static rollout.",
)
@click.option("--all", "everything", is_flag=True, help="Also those the source knows nothing of.")
def signals(
    config_file: Path | None,
    labels: tuple[str, ...],
    instances: tuple[str, ...],
    everything: bool,
) -> None:
    """List the signals that a policy with `signals: auto` would use, and why not the others.

    Asks the configured source about the given instances, such as
    `-l namespace -l pod -i shop,checkout-7d9f-x2v`.
    """
    config = load_or_exit(config_file or DEFAULT)
    from analyzer.sample import Missing  # noqa: PLC0415 - numpy, when it is needed
    from rollbackd.catalogue import CATALOGUE, discover  # noqa: PLC0415
    from rollbackd.catalogue.routes import with_routes  # noqa: PLC0415
    from rollbackd.wiring import metric_source  # noqa: PLC0415

    by, ids = _instances(config, labels, instances)
    source = metric_source(config)
    try:
        at = time.time() - config.settle_s
        found = discover(source, CATALOGUE, by, ids, at)
        candidates = {} if isinstance(found, Missing) else found.candidates
        routed = with_routes(source, candidates, by, ids, at)
    finally:
        source.close()
    if isinstance(found, Missing):
        click.secho(f"nothing is known: {found}", fg="red", err=True)
        sys.exit(UNANSWERED)
    routes = {} if isinstance(routed, Missing) else {s.name: s for s in routed.values()}
    for line in told(found, routes, everything=everything):
        click.echo(line)


def told(
    found: "Discovery", routes: "Mapping[str, RatioSignal]", *, everything: bool
) -> Iterator[str]:
    """Yield what was found for people: what is used, by which routes, and what is not."""
    taken = [each.offer for each in found.found if each.taken]
    width = max([8, *(len(offer.signal.name) for offer in taken)])
    yield click.style(f"used: {len(taken)}", bold=True)
    for offer in taken:
        signal = offer.signal
        yield f"  {signal.name:{width}}  {offer.needed}"
        yield (
            f"  {'':{width}}  {offer.convention}; {signal.tier}, weight {signal.weight:g}, "
            f"harmful from ×{signal.margin:g}"
        )
        yield f"  {'':{width}}  {offer.why}"
        routed = routes.get(signal.name)
        if routed is not None and routed.routes:
            yield f"  {'':{width}}  by {routed.route}: {', '.join(routed.routes)}"
    left = [each for each in found.found if not each.taken]
    known = [each for each in left if everything or not each.reason.startswith("no ")]
    yield ""
    yield click.style(f"not used: {len(left)}", bold=True)
    for each in known:
        yield f"  {each.offer.signal.name}, {each.offer.convention}: {each.reason}"
    if len(known) < len(left):
        rest = len(left) - len(known)
        yield f"  {rest} more have no series for these instances (--all lists them)"


def _instances(
    config: "Config", labels: Sequence[str], instances: Sequence[str]
) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the labels that identify instances, and the instances."""
    rollouts = config.rollouts
    if instances:
        by = tuple(labels) or (
            rollouts.kubernetes.id_labels if rollouts.kubernetes else ("instance",)
        )
        ids = [tuple(value.split(",")) for value in instances]
        if any(len(id_) != len(by) for id_ in ids):
            raise click.BadParameter(f"each needs a value for {', '.join(by)}", param_hint="-i")
        return by, ids
    if not rollouts.static:
        raise click.UsageError("name instances with -i; without a cluster none are known here")
    groups = [group for r in rollouts.static for group in (r.baseline, r.canary)]
    return (rollouts.static[0].id_label,), [(name,) for g in groups for name in g.instances]
