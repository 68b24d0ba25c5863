"""The life of a release train: which region is released next, and when all are taken back. Pure."""
