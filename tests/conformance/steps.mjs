// What every driver does: it connects, runs the steps, and prints the result of each as one JSON array.
// usage: node DRIVER.mjs URL KEY ERA STEPS      ERA: legacy, auto or a revision; STEPS: [["list"], ["call", NAME, ARGUMENTS]]

export const [url, key, era, stepsText] = process.argv.slice(2);

/** The result of something that may fail, as a user of the client sees it. */
async function resultOf(work) {
  try {
    return { ok: await work() };
  } catch (error) {
    return { error: { code: error.code ?? null, message: error.message } };
  }
}

/** Runs the steps with a client that is not connected yet. */
export async function run(client, connect) {
  const results = [await resultOf(async () => ({ version: (await connect()) ?? null }))];
  if (results[0].ok) {
    for (const [kind, name, args] of JSON.parse(stepsText)) {
      results.push(
        await resultOf(() => (kind === "list" ? client.listTools() : client.callTool({ name, arguments: args }))),
      );
    }
    results.push(await resultOf(async () => (await client.close()) ?? null));
  }
  console.log(JSON.stringify(results));
}
