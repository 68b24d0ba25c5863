"""Microsoft Teams, e-mail and the long tail, through apprise; needs the extra ``notify``."""

import apprise

from actions.ports import Transient
from rollbackd.config.secrets import Secret, SecretError
from rollbackd.notifiers.links import Links, traces_of
from rollbackd.notifiers.port import Memo
from rollbackd.notifiers.wording import Severity, headline, severity, summary
from rollbackd.views import WatchView

_KINDS = {
    Severity.INFO: apprise.NotifyType.INFO,
    Severity.WARNING: apprise.NotifyType.WARNING,
    Severity.CRITICAL: apprise.NotifyType.FAILURE,
}


class Chat:
    """Implements ``Notifier`` for services whose messages cannot be updated: one for each state.

    Args:
        url: apprise's address of the service, which holds its credentials. links: under the text.

    Raises:
        SecretError: the address cannot be read. ValueError: apprise does not know it.
    """

    def __init__(self, url: Secret, links: Links) -> None:
        self._url = url
        self._links = links
        self._service()

    def _service(self) -> apprise.Apprise:
        service = apprise.Apprise(asset=apprise.AppriseAsset(app_id="rollbackd"))
        if not service.add(self._url.read()):
            # not the address itself: it holds credentials
            raise ValueError(
                "apprise does not know the address of a notifier, see its documentation"
            )
        return service

    def tell(self, view: WatchView, memo: Memo) -> None:
        """Send the state, unless it is the one that was sent last."""
        state = [view.phase, view.hold, view.since]
        if memo.data.get("state") == state:
            return
        addresses = self._links.of(view) | traces_of(view)
        links = [f"{name}: {url}" for name, url in addresses.items()]
        try:
            service = self._service()
        except (SecretError, ValueError) as error:
            raise Transient(str(error)) from error
        sent = service.notify(
            title=headline(view),
            body="\n".join([summary(view), *links]),
            notify_type=_KINDS[severity(view)],
            body_format=apprise.NotifyFormat.TEXT,
        )
        if not sent:
            raise Transient("the service did not take the message")
        memo.keep(state=state)

    def close(self) -> None:
        """Release nothing: every message has a connection of its own."""
