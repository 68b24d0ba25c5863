"""What runs in a cluster besides the API server, as far as an observer can see.

Controllers read the store and write through the registry, like clients of their own server.
"""
