"""Policies of the cluster: RollbackPolicy resources beside those of the configuration file.

``resource`` reads one, ``source`` follows all of them, ``book`` says which policy counts for what,
``status`` says what is told of one, ``clerk`` writes that. The status is for people: nothing waits
for it, and nothing is decided by it.
"""
