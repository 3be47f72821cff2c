"""Requests for answers, past the SDK: its own work on each takes longer than all the rest.

The SDK stays responsible for where requests go and what shows who sends them: the first request to
a path and a model goes over it, and what it sent, its URL and headers, the others send too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.request import getproxies, proxy_bypass

import attrs

if TYPE_CHECKING:
    import ssl

    import aiohttp
    import httpx2
    from multidict import CIMultiDict
    from yarl import URL

__all__ = ["Answer", "Straight", "proxied"]

_OWN = ("accept-encoding", "connection", "content-length", "host", "transfer-encoding")
"""Headers that depend on who sends a request, or on its body."""
_KEPT_ALIVE = 5.0  # seconds for which a connection may idle, as with the SDK


@attrs.frozen
class Answer:
    """What a server sent back, read to its end."""

    status: int
    headers: Mapping[str, str]
    """Their names may be asked for in any case."""
    content: bytes

    @property
    def text(self) -> str:
        """The body; what is no UTF-8 reads as replacement characters."""
        return self.content.decode(errors="replace")


@attrs.frozen
class _Way:
    url: URL
    headers: CIMultiDict[str] = attrs.field(repr=False)
    """The key among them."""


@attrs.define(eq=False)
class Straight:
    """One pool of connections, and how the SDK sends to each path and model.

    It is of one event loop, and to be closed.
    """

    certificates: ssl.SSLContext
    timeout: float
    """Seconds to wait for a connection, and for more of an answer."""
    _ways: dict[tuple[str, str], _Way] = attrs.field(factory=dict, init=False, repr=False)
    _session: aiohttp.ClientSession | None = attrs.field(default=None, init=False, repr=False)

    def learn(self, path: str, body: Mapping[str, Any], sent: httpx2.Request) -> None:
        """Take note of how the SDK sent a request, if it is not known and no proxy is to be used:
        which one, and how, is known to the SDK alone."""
        key = (path, str(body.get("model")))
        if key in self._ways or proxied(sent.url.scheme, sent.url.host):
            return
        from multidict import CIMultiDict
        from yarl import URL

        headers = CIMultiDict((k, v) for k, v in sent.headers.multi_items() if k not in _OWN)
        headers["Accept-Encoding"] = "gzip, deflate"
        self._ways[key] = _Way(URL(str(sent.url), encoded=True), headers)

    async def post(self, path: str, body: Mapping[str, Any]) -> Answer | None:
        """Send a request; None, and nothing is sent, where it must go over the SDK.

        Raises aiohttp.ClientError, which may hold the key, where no answer came.
        """
        way = self._ways.get((path, str(body.get("model"))))
        if way is None:
            return None
        data = json.dumps(body, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        async with self._opened().post(
            way.url, data=data.encode(), headers=way.headers, allow_redirects=False
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    def forget(self, path: str, body: Mapping[str, Any]) -> None:
        """Send to a path and a model over the SDK again."""
        self._ways.pop((path, str(body.get("model"))), None)

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=0, ssl=self.certificates, keepalive_timeout=_KEPT_ALIVE
                ),
                timeout=aiohttp.ClientTimeout(sock_connect=self.timeout, sock_read=self.timeout),
            )
        return self._session


def proxied(scheme: str, host: str) -> bool:
    """Whether the environment names a proxy for a host."""
    proxies = getproxies()
    return bool(proxies.get(scheme) or proxies.get("all")) and not proxy_bypass(host)
