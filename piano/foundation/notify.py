"""A message when a run ends or dies, through Apprise: mail, telephone, chat, a web hook; whatever the address says."""

import logging
from collections.abc import Sequence
from typing import Any

from piano.foundation.errors import ConfigError
from piano.foundation.screen_text import printable

logger = logging.getLogger(__name__)


class Messenger:
    """Sends messages to the addresses of `training.notify`.

    Parameters
    ----------
    addresses : sequence of str
        As Apprise writes them; none: nothing is ever sent, and Apprise is not needed.

    Raises
    ------
    ConfigError
        Apprise is missing, or does not know an address: said before training, not hours later.
    """

    def __init__(self, addresses: Sequence[str]) -> None:
        self._apprise: Any = None
        if not addresses:
            return
        try:
            import apprise
        except ImportError:
            raise ConfigError(
                "training.notify needs Apprise, which is not installed. "
                "`pip install apprise`, or take the address out of config.yaml."
            ) from None
        logging.getLogger("apprise").setLevel(logging.CRITICAL)  # its own words may hold the address
        self._apprise = apprise.Apprise()
        for index, address in enumerate(addresses):
            if not self._apprise.add(address):
                kind = printable(address.partition("://")[0][:20])  # what follows may be a password
                raise ConfigError(
                    f"training.notify: Apprise does not know address {index + 1} ({kind}://...). "
                    f"Its kinds are listed at https://github.com/caronc/apprise/wiki."
                )

    def send(self, title: str, body: str) -> bool:
        """Send to every address; returns whether all took it. Never raises: the run is over, its files are written."""
        if self._apprise is None:
            return True
        try:
            is_sent = bool(self._apprise.notify(title=title, body=body))
        except Exception as error:  # a library of others with a network behind it
            logger.warning("training.notify: %s", type(error).__name__)
            is_sent = False
        if not is_sent:
            logger.warning("training.notify: the message that the run is over could not be delivered.")
        return is_sent
