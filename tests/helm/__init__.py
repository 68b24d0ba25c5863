"""The chart: linted and rendered by real Helm 3 and Helm 4, and held against the daemon's code."""
