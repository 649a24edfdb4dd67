"""fastmcp. A key in `Authorization` is given as its documentation says: as the token of `auth`."""

from contextlib import asynccontextmanager

from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport

from steps import plain, run


class Steps:
    def __init__(self, client):
        self.client, self.version = client, client.protocol_version

    async def list(self):
        return {"tools": [plain(tool) for tool in await self.client.list_tools()]}

    async def call(self, name, arguments, timeout):
        result = await self.client.call_tool(name, arguments, timeout=timeout)
        content = [plain(item) for item in result.content]
        return {"content": content, "structuredContent": result.structured_content, "isError": result.is_error}

    async def ping(self):
        return await self.client.ping()


@asynccontextmanager
async def connect(url, headers, era):
    scheme, _, token = headers.get("Authorization", "").partition(" ")
    client = Client(url, auth=token, mode=era) if token else Client(StreamableHttpTransport(url, headers=headers), mode=era)
    async with client:
        yield Steps(client)


run(connect)
