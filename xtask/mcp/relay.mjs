// Adds the token for a client that has no way to say it: `relay.mjs PORT`, KAPELL_TOKEN. Prints its own port.
// All else passes as it came; only names of the relay itself become names of the server.

import http from "node:http";

const port = Number(process.argv[2]);
const relay = http.createServer((request, response) => {
  const own = `:${relay.address().port}`;
  const renamed = (value) => (value.endsWith(own) ? value.slice(0, -own.length) + `:${port}` : value);
  const headers = { ...request.headers, authorization: "Bearer " + process.env.KAPELL_TOKEN };
  for (const name of ["host", "origin"]) {
    if (headers[name]) headers[name] = renamed(headers[name]);
  }
  const options = { host: "127.0.0.1", port, method: request.method, path: request.url, headers };
  const onward = http.request(options, (answer) => {
    response.writeHead(answer.statusCode, answer.headers);
    answer.pipe(response);
    answer.on("error", () => response.destroy());
  });
  onward.on("error", () => response.destroy());
  response.on("close", () => onward.destroy());
  request.pipe(onward);
});
relay.listen(0, "127.0.0.1", () => console.log(relay.address().port));
