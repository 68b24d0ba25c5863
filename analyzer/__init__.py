"""Rollout and samples in; windows, evidence, judgement and the watch's next phase out.

What may live here: the vocabulary of a watch (rollouts, signals, samples, evidence, judgements)
and pure functions over it, plus the ports this layer calls (``analyzer.ports``).

What may not: I/O, clocks, logging, threads, randomness. ``now`` and data come in as arguments and
reasons go out as data, which is what makes live, restart, replay and backtest one code path.
"""
