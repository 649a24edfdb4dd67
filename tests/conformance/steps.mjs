// What every driver does: it runs plans, one after the other, and prints the results of each as one JSON array.
// usage: node DRIVER.mjs URL PLANS [ARGUMENT]    PLANS: [{"headers": {…}, "era": …, "steps": [["list"], ["call", NAME, ARGUMENTS]]}]
// The other steps are ["ping"] and ["abandon", NAME, ARGUMENTS]: a call with a timeout of the client's own. ERA is legacy, auto, or a revision.

export const [url, plans, argument] = process.argv.slice(2);
const TIMEOUT_MS = 1_500;

/** The result of something that may fail, as a user of the client sees it. */
async function resultOf(work) {
  try {
    return { ok: (await work()) ?? null };
  } catch (error) {
    return { error: { code: error.code ?? null, message: error.message } };
  }
}

/** Runs the plans. `connect(url, headers, era)` returns the version and what the steps need: list, call, ping and close. */
export async function run(connect) {
  const all = [];
  for (const { headers, era, steps } of JSON.parse(plans)) {
    let client;
    const results = [
      await resultOf(async () => {
        client = await connect(new URL(url), headers, era);
        return { version: client.version ?? null };
      }),
    ];
    if (client) {
      for (const [kind, name, args] of steps) {
        const timeout = kind === "abandon" ? TIMEOUT_MS : undefined;
        results.push(await resultOf(() => (name ? client.call(name, args, timeout) : client[kind]())));
      }
      results.push(await resultOf(() => client.close()));
    }
    all.push(results);
  }
  console.log(JSON.stringify(all));
}

/** The methods of a client of one of the official SDKs. `schemas` are arguments of the older of these. */
export function official(client, version, ...schemas) {
  return {
    version,
    list: () => client.listTools(),
    call: (name, args, timeout) => client.callTool({ name, arguments: args }, ...schemas, timeout ? { timeout } : undefined),
    ping: () => client.ping(),
    close: () => client.close(),
  };
}
