import type { LabHost, Running } from './namespace.ts';

/** The command line of a JavaScript program with its arguments, process.argv[1] and on. */
const node = (program: string, args: readonly string[]): [string, string[]] => [
  process.execPath,
  ['--input-type=module', '--eval', program, '--', ...args],
];

/** Answers connections and datagrams at a port of some addresses with the address that they came from. */
export const echo = `
import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
const [, port, ...addresses] = process.argv;
for (const host of addresses) {
  const tcp = net.createServer((socket) => {
    socket.on('error', () => undefined);
    socket.end(socket.remoteAddress ?? '');
  });
  await once(tcp.listen({ port: Number(port), host }), 'listening');
  // Bound to the one address: else an answer may come from another of the host's.
  const udp = dgram.createSocket(host.includes(':') ? 'udp6' : 'udp4');
  udp.on('message', (_, from) => udp.send(from.address, from.port, from.address));
  udp.bind(Number(port), host);
  await once(udp, 'listening');
}
console.log('ready');
`;

export async function listen(
  host: LabHost,
  port: number,
  addresses: readonly string[],
): Promise<Running> {
  const server = host.start(...node(echo, [String(port), ...addresses]));
  await server.said('ready', 20);
  return server;
}

/** One connection or datagram; prints what came back, see {@link replyOf}. */
export const ask = `
import dgram from 'node:dgram';
import net from 'node:net';
const [, protocol, to, port, from, wait] = process.argv;
const end = (text) => { console.log(text); process.exit(0); };
setTimeout(() => end('silence'), Number(wait) * 1000);
if (protocol === 'tcp') {
  const socket = net.connect({ host: to, port: Number(port), ...(from ? { localAddress: from } : {}) });
  socket.on('data', (data) => end('answer ' + String(data).trim()));
  socket.on('error', (error) => end(error.code === 'ECONNREFUSED' ? 'refused' : 'error ' + error.code));
} else {
  const socket = dgram.createSocket(to.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', (data) => end('answer ' + data));
  socket.on('error', (error) => end(error.code === 'ECONNREFUSED' ? 'refused' : 'error ' + error.code));
  socket.bind(0, from || undefined, () => socket.connect(Number(port), to, () => socket.send('?')));
}
`;

/** What came back: an answer (with the source address that the other side saw), a refusal, or nothing. */
export type Reply =
  | { kind: 'answer'; seenAs: string }
  | { kind: 'refused' | 'silence' | 'error'; detail?: string };

/** One connection or datagram from a host of the lab, as a plain program would do it. */
export async function send(host: LabHost, o: Question): Promise<Reply> {
  const [command, args] = node(ask, askArguments(o));
  const { stdout } = await host.run(command, args);
  return replyOf(stdout);
}

export type Question = {
  protocol: 'tcp' | 'udp';
  to: string;
  port: number;
  /** Source address. */
  from?: string;
  /** Seconds without an answer that count as silence. */
  wait?: number;
};

export const askArguments = (o: Question): string[] => [
  o.protocol,
  o.to,
  String(o.port),
  o.from ?? '',
  String(o.wait ?? 3),
];

/** Reads what {@link ask} has printed. */
export function replyOf(stdout: string): Reply {
  const [kind = '', detail = ''] = stdout.trim().split(' ');
  if (kind === 'answer') return { kind, seenAs: detail };
  if (kind === 'refused' || kind === 'silence') return { kind };
  return { kind: 'error', detail };
}
