// The TypeScript SDK of the revisions up to 2025-11-25.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StreamableHTTPClientTransport } from "@modelcontextprotocol/sdk/client/streamableHttp.js";
import { key, run, url } from "./steps.mjs";

const client = new Client({ name: "portcullis-tests", version: "1.0.0" });
const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { "x-api-key": key } } });
await run(client, async () => {
  await client.connect(transport);
  return transport.protocolVersion;
});
