"""The Python client that supports both eras."""

from contextlib import asynccontextmanager

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from steps import plain, run


class Steps:
    def __init__(self, client):
        self.client, self.version = client, client.protocol_version

    async def list(self):
        return plain(await self.client.list_tools())

    async def call(self, name, arguments, timeout):
        return plain(await self.client.call_tool(name, arguments, read_timeout_seconds=timeout))

    async def ping(self):
        return plain(await self.client.send_ping())


@asynccontextmanager
async def connect(url, headers, era):
    async with httpx2.AsyncClient(headers=headers, timeout=30) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=era) as client:
            yield Steps(client)


run(connect)
