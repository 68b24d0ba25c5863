"""What traces say of a rollout: one comparison for each operation, and one finding for all.

Traces are reduced to counters before they come here, so that the families of counted signals, with
their noise models and their rules for missing data, judge operations as they judge services.
"""
