/** An extension's service as nobody wants it, for tests: what it does is the last word of the path. */
import { createServer } from 'node:http';

const json = { 'content-type': 'application/json' };
const deeds = {
  good: (response) => response.writeHead(200, json).end('{"fine":true}'),
  slow: () => undefined,
  drip: (response) => {
    response.writeHead(200, json);
    setInterval(() => response.write(' '), 20);
  },
  huge: (response) => {
    response.writeHead(200, json);
    const more = () => {
      while (!response.destroyed && response.write('x'.repeat(65_536)));
    };
    response.on('drain', more);
    more();
  },
  headers: (response) =>
    response.writeHead(200, { ...json, 'x-long': 'x'.repeat(60_000) }).end('{}'),
  invalid: (response) => response.writeHead(200, json).end('{"half":'),
  deep: (response) => response.writeHead(200, json).end('['.repeat(5000) + ']'.repeat(5000)),
  binary: (response) => response.writeHead(200, json).end(Buffer.from([0x22, 0xff, 0xfe, 0x22])),
  html: (response) =>
    response.writeHead(200, { 'content-type': 'text/html' }).end('<script>alert(1)</script>'),
  cookie: (response) =>
    response.writeHead(200, { ...json, 'set-cookie': 'a=b', 'x-mine': '1' }).end('{}'),
  redirect: (response) => response.writeHead(302, { location: 'https://example.org/' }).end(),
  teapot: (response) => response.writeHead(418, json).end('{}'),
  login: (response) => response.writeHead(401, { ...json, 'www-authenticate': 'Basic' }).end('{}'),
  refuse: (response) =>
    response
      .writeHead(409, json)
      .end(JSON.stringify({ detail: 'It rains\u001b[2J', fix: 'Wait', stack: 'secret' })),
  half: (response) => {
    response.writeHead(200, { ...json, 'content-length': '100' });
    response.write('{');
    setTimeout(() => response.destroy(), 20);
  },
  crash: () => process.exit(3),
  raw: (response) => {
    response.socket.end('no HTTP at all\r\n\r\n');
  },
  switch: (response) => {
    response.socket.write(
      'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n',
    );
  },
  card: (response) => response.writeHead(200, json).end(process.env.CARD ?? '{}'),
};

createServer((request, response) => {
  request.resume();
  const deed = deeds[(request.url ?? '').split('/').at(-1)];
  if (deed) deed(response);
  else response.writeHead(404, json).end('{}');
}).listen({ fd: 3 });
