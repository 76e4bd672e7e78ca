import { createSocket } from 'node:dgram';
import { createServer, type ServerResponse } from 'node:http';

/**
 * A router for tests that answers by UPnP as nobody should: `node hostile-main.ts KIND ADDRESS`. It prints each
 * request that it gets.
 */
const [, , kind = '', address = ''] = process.argv;
const port = 5000;
const there = `http://${address}:${port}`;

const description = (
  control: string,
  base = '',
) => `<?xml version="1.0"?><root>${base}<device><serviceList>
<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>${control}</controlURL></service>
</serviceList></device></root>`;

const locations: Readonly<Record<string, string>> = {
  'other host': 'http://192.168.77.66:80/rootDesc.xml',
  'loopback name': 'http://localhost:8443/rootDesc.xml',
  'file address': 'file:///etc/shadow',
  'credentials in it': `http://admin:admin@${address}:${port}/rootDesc.xml`,
};

const descriptions: Readonly<Record<string, (answer: ServerResponse) => void>> = {
  'control elsewhere': (answer) => answer.end(description('http://192.168.77.66/ctl')),
  'base elsewhere': (answer) =>
    answer.end(description('/ctl', '<URLBase>http://127.0.0.1:8443/</URLBase>')),
  redirect: (answer) => answer.writeHead(302, { location: 'http://192.168.77.66/' }).end(),
  endless: (answer) => {
    const more = () => {
      while (answer.write('<service>'.repeat(1000)));
    };
    answer.on('drain', more);
    more();
  },
  'entities of entities': (answer) =>
    answer.end(
      `<!DOCTYPE r [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;"><!ENTITY x SYSTEM "file:///etc/passwd">]>${description('&x;&b;')}`,
    ),
  'many services': (answer) =>
    answer.end(
      `${'<service><serviceType>x</serviceType></service>'.repeat(1300)}${description('/ctl')}`,
    ),
  silent: () => undefined,
  nonsense: (answer) => answer.end(Buffer.from(Array.from({ length: 4000 }, (_, i) => i % 256))),
  'an odd fault': (answer) => answer.end(description('/ctl')),
};

createServer((asked, answer) => {
  process.stdout.write(`asked ${asked.method} ${asked.url}\n`);
  if (asked.method === 'POST') answer.writeHead(500).end('<errorCode>7;id</errorCode>');
  else descriptions[kind]?.(answer);
}).listen(port, address, () => {
  const socket = createSocket('udp4');
  socket.on('message', (_, from) =>
    socket.send(
      `HTTP/1.1 200 OK\r\nST: upnp:rootdevice\r\nLOCATION: ${locations[kind] ?? `${there}/rootDesc.xml`}\r\n\r\n`,
      from.port,
      from.address,
    ),
  );
  socket.bind(1900, address, () => process.stdout.write('ready\n'));
});
