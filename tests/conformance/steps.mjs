// What every driver does: connects, takes the steps, and prints how each ended, as one JSON array.
// usage: node DRIVER.mjs URL KEY ERA STEPS      ERA: legacy, auto or a revision; STEPS: [["list"], ["call", NAME, ARGUMENTS]]

export const [url, key, era, stepsText] = process.argv.slice(2);

/** The ending of something that may fail, as a caller of the client sees it. */
async function ending(work) {
  try {
    return { ok: await work() };
  } catch (error) {
    return { error: { code: error.code ?? null, message: error.message } };
  }
}

/** Takes the steps with a client whose `connect` was not called yet. */
export async function run(client, connect) {
  const endings = [await ending(async () => ({ version: (await connect()) ?? null }))];
  if (endings[0].ok) {
    for (const [kind, name, args] of JSON.parse(stepsText)) {
      endings.push(
        await ending(() => (kind === "list" ? client.listTools() : client.callTool({ name, arguments: args }))),
      );
    }
    endings.push(await ending(async () => (await client.close()) ?? null));
  }
  console.log(JSON.stringify(endings));
}
