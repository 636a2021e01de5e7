"""The suite through the official Python SDK, 1.x or 2.x: `suite.py TRANSPORT TARGET SUITE`.

TRANSPORT is stdio (TARGET: a program and its arguments), http or sse (TARGET: an address; KAPELL_TOKEN holds the token).
Prints what did not go as the suite says, and a line with the counts.
"""

import asyncio
import importlib.metadata
import json
import os
import shlex
import sys
from contextlib import asynccontextmanager

from mcp import ClientSession, StdioServerParameters


@asynccontextmanager
async def opened(transport, target):
    headers = {"Authorization": "Bearer " + os.environ.get("KAPELL_TOKEN", "")}
    if transport == "stdio":
        from mcp.client.stdio import stdio_client

        program, *args = shlex.split(target)
        async with stdio_client(StdioServerParameters(command=program, args=args)) as streams:
            yield streams[0], streams[1]
    elif transport == "sse":
        from mcp.client.sse import sse_client

        async with sse_client(target, headers=headers) as streams:
            yield streams[0], streams[1]
    else:
        import mcp.client.streamable_http as module

        if hasattr(module, "streamablehttp_client"):
            async with module.streamablehttp_client(target, headers=headers) as streams:
                yield streams[0], streams[1]
        else:
            from mcp.shared._httpx_utils import create_mcp_http_client

            async with create_mcp_http_client(headers=headers) as client:
                async with module.streamable_http_client(target, http_client=client) as streams:
                    yield streams[0], streams[1]


def plain(value):
    return value.model_dump(mode="json", by_alias=True)


def wrong(step, result):
    """Why a result is not what the suite says, or nothing."""
    said = (result.get("structuredContent") or {}).get("result") or {}
    if bool(result.get("isError")) != bool(step.get("fails")):
        return json.dumps(result)[:400]
    if not result.get("content"):
        return "no content"
    for name, value in step.get("is", {}).items():
        if said.get(name) != value:
            return f"{name} is {said.get(name)!r}"
    return None


async def main(transport, target, suite):
    with open(suite, encoding="utf-8") as file:
        steps = json.load(file)
    failed = 0
    async with opened(transport, target) as (read, write):
        async with ClientSession(read, write) as session:
            greeted = plain(await session.initialize())
            names = {tool["name"] for tool in plain(await session.list_tools())["tools"]}
            missing = {step["tool"] for step in steps} - names
            if missing:
                print("not listed:", sorted(missing))
                failed += 1
            for step in steps:
                why = wrong(step, plain(await session.call_tool(step["tool"], step["args"])))
                if why:
                    failed += 1
                    print(step["tool"], json.dumps(step["args"])[:100], why)
            await session.send_ping()
            resources = plain(await session.list_resources())["resources"]
            prompts = plain(await session.list_prompts())["prompts"]
            if not resources or not prompts:
                failed += 1
                print("resources:", resources, "prompts:", prompts)
    version = importlib.metadata.version("mcp")
    print(f"Python SDK {version}, {transport}, protocol {greeted['protocolVersion']}: "
          f"{len(names)} tools listed, {len(steps)} calls, {failed} failed")
    return failed


sys.exit(1 if asyncio.run(main(*sys.argv[1:4])) else 0)
