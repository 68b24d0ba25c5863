"""What rollbackd needs of a cluster, on the fake and, with ``make test-cluster``, on a real one."""
