"""Slack: one message for each rollout, kept up to date, with buttons; a command and a home tab.

Needs the extra ``slack``. Nothing here decides who may do what: presses and commands become
``rollbackd.decisions``.
"""
