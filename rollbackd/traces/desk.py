"""Tells the comparison, before each tick, which operations there are and what the accused ones do."""

from analyzer.traces.comparison import TraceComparison
from analyzer.traces.operations import TraceSource


class TraceDesk:
    """Answers what trace signals want to know.

    Args:
        source: where traces come from.
    """

    def __init__(self, source: TraceSource) -> None:
        self._source = source

    def tend(self, comparison: TraceComparison) -> None:
        """Ask and tell, for every watch that reads traces."""
        for question in comparison.questions():
            comparison.notice(question, self._source.seen(question.instances))
            for operation in question.details:
                detail = self._source.detail(question.instances, operation)
                comparison.explain(question, operation, detail)
            for operation in question.calls:
                comparison.learn(
                    question, operation, self._source.detail(question.instances, operation)
                )
