"""What people and their browsers are answered: pages, the live stream, the API's description.

Everything is rendered here from immutable snapshots; nothing in this package changes a watch but by
a ``Decision`` that is handed to the daemon. Pages work without JavaScript; with it they stay fresh.
"""
