"""API objects as raw JSON: storing, selecting, patching, defaulting, checking.

Nothing here knows HTTP, threads or the event loop.
"""
