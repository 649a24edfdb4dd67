"""LangChain's adapters: the tools as its agents have them."""

import asyncio
from contextlib import asynccontextmanager

from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools

from steps import plain, run


class Steps:
    version = None

    def __init__(self, session, tools):
        self.session, self.tools = session, {tool.name: tool for tool in tools}

    async def list(self):
        return {"tools": [{"name": name} for name in self.tools]}

    async def call(self, name, arguments, timeout):
        call = {"type": "tool_call", "id": "1", "name": name, "args": arguments}
        message = await asyncio.wait_for(self.tools[name].ainvoke(call), timeout)
        structured = (message.artifact or {}).get("structured_content")
        content = message.content if isinstance(message.content, list) else [{"type": "text", "text": message.content}]
        return {"content": content, "structuredContent": structured, "isError": message.status == "error"}

    async def ping(self):
        return plain(await self.session.send_ping())


@asynccontextmanager
async def connect(url, headers, _):
    client = MultiServerMCPClient({"crm": {"transport": "streamable_http", "url": url, "headers": headers}})
    async with client.session("crm") as session:
        yield Steps(session, await load_mcp_tools(session))


run(connect)
