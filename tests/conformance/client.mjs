// The TypeScript client that supports both eras.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { official, run } from "./steps.mjs";

await run(async (url, headers, era) => {
  const mode = era === "legacy" || era === "auto" ? era : { pin: era };
  const client = new Client({ name: "portcullis-tests", version: "1.0.0" }, { versionNegotiation: { mode } });
  await client.connect(new StreamableHTTPClientTransport(url, { requestInit: { headers } }));
  return official(client, client.getNegotiatedProtocolVersion());
});
