// For a program without an option for headers: adds the key to each of its requests.
import http from "node:http";

const key = process.env.PORTCULLIS_TEST_KEY;
const send = globalThis.fetch;
globalThis.fetch = (input, init = {}) => {
  const headers = new Headers(init.headers ?? (input instanceof Request ? input.headers : undefined));
  headers.set("x-api-key", key);
  return send(input, { ...init, headers });
};
const request = http.request;
http.request = (...args) => {
  const made = request(...args);
  made.setHeader("x-api-key", key);
  return made;
};
