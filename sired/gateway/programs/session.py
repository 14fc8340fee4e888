"""Connections to programs, kept while they are used.

This module is imported for the first request to a program: aiohttp takes nine MiB.
"""

import io
from collections.abc import AsyncGenerator, Iterable
from typing import Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

# Programs often close connections that were idle for 5 s; a request must not meet that moment.
_IDLE_SECONDS = 3.0
_CONNECT_SECONDS = 10.0
# What aiohttp would add to a request.
_ADDED = ("accept", "accept-encoding", "content-type", "user-agent")

Body = io.BytesIO | AsyncGenerator[bytes, None] | None


class ProgramSession:
    """An HTTP client that passes on what it is given.

    It has to be made and closed within the event loop.

    Attributes:
        errors: what is raised when a program cannot be reached, or breaks off its response.
    """

    errors: Final = (aiohttp.ClientError, OSError, ValueError)  # a line that is too long

    def __init__(self) -> None:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_IDLE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            auto_decompress=False,
            skip_auto_headers=_ADDED,
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def request(
        self, method: str, url: str, headers: Iterable[tuple[bytes, bytes]], body: Body
    ) -> aiohttp.ClientResponse:
        """Send a request; returns the response once its headers have arrived.

        Args:
            method: of the request.
            url: with its path and query as they are sent.
            headers: none is added but those of the connection.
            body: of the request; None for none.

        Raises:
            OSError: the program cannot be reached.
            aiohttp.ClientError: it closed the connection, or its response is not one.
        """
        return await self._session.request(
            method,
            URL(url, encoded=True),
            headers=CIMultiDict(
                (name.decode("latin-1"), value.decode("latin-1")) for name, value in headers
            ),
            data=body,
            allow_redirects=False,
        )
