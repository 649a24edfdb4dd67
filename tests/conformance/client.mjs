// The TypeScript client that supports both eras.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { era, key, run, url } from "./steps.mjs";

const mode = era === "legacy" || era === "auto" ? era : { pin: era };
const client = new Client({ name: "portcullis-tests", version: "1.0.0" }, { versionNegotiation: { mode } });
const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { "x-api-key": key } } });
await run(client, async () => {
  await client.connect(transport);
  return client.getNegotiatedProtocolVersion();
});
