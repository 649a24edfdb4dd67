// The TypeScript SDK of the revisions up to 2025-11-25. ARGUMENT is the name of its package.
import { argument, official, run } from "./steps.mjs";

const { Client } = await import(`${argument}/client/index.js`);
const { StreamableHTTPClientTransport } = await import(`${argument}/client/streamableHttp.js`);

await run(async (url, headers) => {
  const client = new Client({ name: "portcullis-tests", version: "1.0.0" });
  const transport = new StreamableHTTPClientTransport(url, { requestInit: { headers } });
  await client.connect(transport);
  return official(client, transport.protocolVersion, undefined);
});
