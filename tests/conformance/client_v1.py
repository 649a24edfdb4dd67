"""The Python SDK of the revisions up to 2025-11-25."""

from contextlib import asynccontextmanager
from datetime import timedelta

from mcp import ClientSession
from mcp.client.streamable_http import streamablehttp_client

from steps import plain, run


class Steps:
    def __init__(self, session, version):
        self.session, self.version = session, version

    async def list(self):
        return plain(await self.session.list_tools())

    async def call(self, name, arguments, timeout):
        return plain(await self.session.call_tool(name, arguments, timeout and timedelta(seconds=timeout)))

    async def ping(self):
        return plain(await self.session.send_ping())


@asynccontextmanager
async def connect(url, headers, _):
    async with streamablehttp_client(url, headers=headers) as (read, write, _), ClientSession(read, write) as session:
        result = await session.initialize()
        yield Steps(session, result.protocolVersion)


run(connect)
