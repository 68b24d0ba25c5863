"""The life of a region: when it is left, and when traffic comes back. Pure."""
