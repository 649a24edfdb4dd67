"""The Python client that speaks both eras. Takes the same arguments as the drivers beside it, and prints the same."""

import asyncio
import json
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

URL, KEY, ERA, STEPS = sys.argv[1:5]


def innermost(error):
    """The reason within the groups of a task group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def failed(error):
    error = innermost(error)
    return {"error": {"code": getattr(error, "code", None), "message": str(error) or type(error).__name__}}


def plain(result):
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


async def main():
    endings = []
    try:
        async with httpx2.AsyncClient(headers={"x-api-key": KEY}, timeout=30) as http:
            async with Client(streamable_http_client(URL, http_client=http), mode=ERA) as client:
                endings.append({"ok": {"version": client.protocol_version}})
                for kind, *rest in json.loads(STEPS):
                    try:
                        result = await (client.list_tools() if kind == "list" else client.call_tool(*rest))
                        endings.append({"ok": plain(result)})
                    except Exception as error:  # noqa: BLE001: how it fails is what is asked
                        endings.append(failed(error))
        endings.append({"ok": None})
    except Exception as error:  # noqa: BLE001
        endings.append(failed(error))
    print(json.dumps(endings))


asyncio.run(main())
