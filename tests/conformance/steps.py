"""What every driver in Python does. It has the arguments and the output of `steps.mjs`."""

import asyncio
import json
import sys

TIMEOUT_SECONDS = 1.5


def innermost(error):
    """The first error in the exception groups of a task group."""
    while hasattr(error, "exceptions"):
        error = error.exceptions[0]
    return error


async def result_of(work):
    """The result of something that may fail, as a user of the client sees it."""
    try:
        return {"ok": await work}
    except Exception as error:  # noqa: BLE001: any failure is a result
        error = innermost(error)
        return {"error": {"code": getattr(error, "code", None), "message": str(error) or type(error).__name__}}


async def steps_of(client, steps):
    for kind, *rest in steps:
        if kind in ("call", "abandon"):
            yield await result_of(client.call(*rest, TIMEOUT_SECONDS if kind == "abandon" else None))
        else:
            yield await result_of(getattr(client, kind)())


async def run_plan(connect, headers, era, steps):
    results = []

    async def connected():
        async with connect(sys.argv[1], headers, era) as client:
            results.append({"ok": {"version": client.version}})
            async for result in steps_of(client, steps):
                results.append(result)

    results.append(await result_of(connected()))
    return results


def run(connect):
    """Runs the plans. `connect(url, headers, era)` is a context with the version and what the steps need: list, call and ping."""

    async def plans():
        return [await run_plan(connect, **plan) for plan in json.loads(sys.argv[2])]

    print(json.dumps(asyncio.run(plans())))


def plain(result):
    return result.model_dump(mode="json", by_alias=True, exclude_none=True)
