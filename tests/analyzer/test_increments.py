import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from analyzer.families.increments import increments

values = st.one_of(
    st.integers(0, 50).map(float), st.sampled_from([np.nan, np.inf, -np.inf, -1.0, 1e300])
)


def naive(series: np.ndarray, carry: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same in plain words, one series and one time after the other."""
    gained = np.full(series.shape, np.nan)
    last = carry.copy()
    for s in range(series.shape[0]):
        known = bool(np.isfinite(carry[s]).all())
        last[s] = carry[s] if known else np.nan
        for t in range(series.shape[2]):
            now = series[s, :, t]
            if not (np.isfinite(now) & (now >= 0)).all():
                continue
            if known:
                gained[s, :, t] = now if (now < last[s]).any() else now - last[s]
            last[s], known = now, True
    return gained, last


@given(
    arrays(
        np.float64,
        st.tuples(st.integers(1, 3), st.integers(1, 2), st.integers(1, 8)),
        elements=values,
    ),
    st.data(),
)
def test_it_does_what_the_plain_words_say(series: np.ndarray, data: st.DataObject) -> None:
    start = st.one_of(st.integers(0, 50).map(float), st.just(np.nan))
    carry = data.draw(arrays(np.float64, series.shape[:2], elements=start))
    gained, kept = increments(series, carry)
    expected, last = naive(series, carry)
    np.testing.assert_array_equal(gained, expected)
    np.testing.assert_array_equal(kept, last)


@given(
    arrays(np.float64, st.tuples(st.just(2), st.just(2), st.integers(2, 10)), elements=values),
    st.integers(1, 9),
)
def test_two_halves_make_the_whole(series: np.ndarray, cut: int) -> None:
    cut = min(cut, series.shape[2] - 1)
    carry = np.full(series.shape[:2], np.nan)
    whole, end = increments(series, carry)
    first, middle = increments(series[:, :, :cut], carry)
    second, last = increments(series[:, :, cut:], middle)
    np.testing.assert_array_equal(np.concatenate([first, second], axis=2), whole)
    np.testing.assert_array_equal(last, end)


@given(arrays(np.float64, (2, 2, 6), elements=values))
def test_an_increment_is_never_negative_or_infinite(series: np.ndarray) -> None:
    gained, _ = increments(series, np.zeros((2, 2)))
    assert not (gained < 0).any()
    assert not np.isinf(gained).any()
