"""Tests of the metric sources: one contract over all of them, then each one's own troubles."""
