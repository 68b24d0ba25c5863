"""A stand-in for Slack: Web API, Socket Mode, signed HTTP, and the people who press buttons.

It keeps Slack's limits: what Slack would refuse, it refuses with Slack's error.
"""

from tests.fakes.slack.fake import FakeSlack, Message, NotAcknowledged
from tests.fakes.slack.user import HttpUser, SocketUser

__all__ = ["FakeSlack", "HttpUser", "Message", "NotAcknowledged", "SocketUser"]
