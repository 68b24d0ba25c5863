"""The report: watches as one HTML file that can be mailed, archived and read without a network.

``page`` says what is on it, ``charts`` turns series into geometry, ``scale`` axes into numbers, and
``templates`` hold the markup. All text is escaped by the templates; names of workloads come from
strangers.
"""

from rollbackd.report.page import render, write

__all__ = ["render", "write"]
