// The client of Vercel's AI SDK.
import { createMCPClient } from "@ai-sdk/mcp";
import { run } from "./steps.mjs";

await run(async (url, headers) => {
  const client = await createMCPClient({ transport: { type: "http", url: url.href, headers } });
  return {
    version: client.initializeResult.protocolVersion,
    list: () => client.listTools(),
    call: async (name, args, timeout) => {
      const tools = await client.tools();
      if (!tools[name]) throw new Error(`no tool ${name}`);
      return tools[name].execute(args, { toolCallId: "1", messages: [], abortSignal: timeout ? AbortSignal.timeout(timeout) : undefined });
    },
    close: () => client.close(),
  };
});
