"""The Python client that supports both eras. It has the arguments and the output of the drivers beside it."""

import asyncio
import json
import sys

import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

URL, KEY, ERA, STEPS = sys.argv[1:5]


def innermost(error):
    """The first error in the exception groups of a task group."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def failed(error):
    error = innermost(error)
    return {"error": {"code": getattr(error, "code", None), "message": str(error) or type(error).__name__}}


def plain(result):
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)


async def main():
    results = []
    try:
        async with httpx2.AsyncClient(headers={"x-api-key": KEY}, timeout=30) as http:
            async with Client(streamable_http_client(URL, http_client=http), mode=ERA) as client:
                results.append({"ok": {"version": client.protocol_version}})
                for kind, *rest in json.loads(STEPS):
                    try:
                        result = await (client.list_tools() if kind == "list" else client.call_tool(*rest))
                        results.append({"ok": plain(result)})
                    except Exception as error:  # noqa: BLE001: any failure is a result
                        results.append(failed(error))
        results.append({"ok": None})
    except Exception as error:  # noqa: BLE001
        results.append(failed(error))
    print(json.dumps(results))


asyncio.run(main())
