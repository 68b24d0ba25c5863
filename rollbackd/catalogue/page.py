"""The reference page of the catalogue, docs/signals.md: ``python -m rollbackd.catalogue.page``."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from analyzer.signal import GaugeSignal, LeakSignal, RatioSignal, Signal
from rollbackd.catalogue import CATALOGUE
from rollbackd.catalogue.offer import Offer

PAGE = Path(__file__).parents[2] / "docs" / "signals.md"

BEGINNING = """\
# Ready-made signals

A policy without `signals`, or with `signals: auto`, takes its signals from this catalogue: those that
the source exposes for the instances of the rollout. One query tells which, when a watch begins; they
are written to the journal, so that a restart and a replay judge by the same ones.

`rollbackd signals -l namespace -l pod -i shop,checkout-7d9f-x2v` lists what would be used, and why not
the others.

- **First come, first served.** Offers are tried in the order of this page. The first that fits takes
  its purpose, and a mesh takes that of gRPC calls with it: no request counts twice.
- **Weights are fixed.** They come from this page, never from what happens to be there at the moment.
- **A critical signal acts alone**, a supporting one needs the company of another, info is only shown.
- **Like is compared with like.** Where a label tells what was asked for (in the column *routes*, the first that tells at
  least two apart), requests and errors are counted by it, too: a canary that gets
  [other requests](how-it-decides.md#do-both-get-the-same-requests) is not bad for that.
- **Nothing fits?** After two minutes the watch begins without signals, ends inconclusive and says why.

Your own signals are a few lines of PromQL. They replace the ready-made ones; list those you want to keep:

```yaml
# rollbackd.yaml, in part
policies:
  - name: default
    signals:
      - name: errors
        ratio: {total: http_requests_total, bad: 'http_requests_total{code=~"5.."}'}
      - name: queue
        level: {values: worker_queue_length, unit: jobs}
        tier: supporting
        margin: +50%
```

What is not here: native histograms, which a signal of your own reads, and what is measured elsewhere
under another name for the instance; for that write a signal with `id_labels`.
"""


def page() -> str:
    """Return the page."""
    return "\n".join([BEGINNING, *_tables(CATALOGUE)])


def _tables(offers: Sequence[Offer]) -> Iterator[str]:
    for purpose in dict.fromkeys(offer.signal.name for offer in offers):
        yield f"## {purpose}\n"
        some = [o for o in offers if o.signal.name == purpose]
        by_route = any(offer.routes for offer in some)
        yield f"| convention | series | harm | tier, weight |{' routes |' * by_route} why |"
        yield f"|---|---|---|---|{'---|' * by_route}---|"
        for offer in some:
            signal = offer.signal
            cells = (
                offer.convention,
                f"`{_series(offer)}`".replace("|", "\\|"),
                _harm(signal) + (f" ({signal.unit})" if signal.unit else ""),
                f"{signal.tier}, {signal.weight:g}",
                *([_routes(offer)] if by_route else []),
                offer.why,
            )
            yield f"| {' | '.join(cells)} |"
        yield ""


def _series(offer: Offer) -> str:
    match offer.signal:
        case RatioSignal(bad=bad):
            return f"{bad} out of {offer.needed}"
        case GaugeSignal(counter=True):
            return f"increase of {offer.needed}"
        case _:
            return str(offer.needed)


def _routes(offer: Offer) -> str:
    return ", ".join(f"`{label}`" for label in offer.routes) or "–"


def _harm(signal: Signal) -> str:
    if isinstance(signal, LeakSignal):
        return f"grows, from {signal.margin - 1.0:+.1%} a minute"
    return f"higher, from ×{signal.margin:g}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
