"""Telling people and other programs what happens to watches.

Notifiers follow the journal: what is written there is told, each with a position of its own. So a
messenger that is down delays and blocks nothing, and is told afterwards what it missed. Here are the
port, what drives it, and the notifiers that only send; Slack, which also takes decisions, is in
``rollbackd.slack``.
"""
