// mcp-remote, between a client of standard input and output and the server.
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { official, run } from "./steps.mjs";

const program = new URL("node_modules/mcp-remote/dist/proxy.js", import.meta.url).pathname;

await run(async (url, headers) => {
  const [[name, value]] = Object.entries(headers);
  const client = new Client({ name: "portcullis-tests", version: "1.0.0" });
  const transport = new StdioClientTransport({
    command: process.execPath,
    args: [program, url.href, "--header", `${name}:\${KEY}`],
    env: { ...process.env, KEY: value },
    stderr: "pipe",
  });
  let printed = "";
  transport.stderr.on("data", (data) => (printed += data));
  try {
    await client.connect(transport);
  } catch (error) {
    throw new Error(`${error.message}\n${printed}`);
  }
  return official(client, null, undefined);
});
