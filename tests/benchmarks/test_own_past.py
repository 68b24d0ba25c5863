"""The guard after promotion on simulated services: quiet on good revisions, quick on bad ones."""

import numpy as np
import pytest

from benchmarks.own_past import BAD, DAY_S, FINE, SHORT_S, Situation, accused


@pytest.mark.parametrize("earlier_s", [DAY_S, SHORT_S])
@pytest.mark.parametrize("situation", FINE[:-1], ids=lambda s: s.name)
def test_ordinary_changes_of_load_accuse_nobody(situation: Situation, earlier_s: float) -> None:
    found = np.array(accused(situation, earlier_s, services=40, seed=7))
    assert np.isfinite(found).sum() <= 1


@pytest.mark.parametrize("earlier_s", [DAY_S, SHORT_S])
def test_ten_times_the_errors_are_found(earlier_s: float) -> None:
    found = np.array(accused(BAD[1], earlier_s, services=40, seed=7))
    assert np.isfinite(found).mean() >= 0.9
