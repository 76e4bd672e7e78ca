import { randomBytes } from 'node:crypto';
import { createSocket, type SocketOptions } from 'node:dgram';
import type { LookupFunction } from 'node:net';
import { canonical, type Family, familyOf } from '../address.ts';

/** RFC 8489 §5: the second word of every message. */
const magicCookie = 0x2112a442;
const bindingRequest = 0x0001;
const bindingSuccess = 0x0101;
/** RFC 8489 §14.2. MAPPED-ADDRESS is not read: some NATs rewrite it (§14.2, last paragraph). */
const xorMappedAddress = 0x0020;
const headerLength = 20;

/** Error codes of node:dns for a name that has no address, or that nobody can tell now. */
const unresolved = /^(ENOTFOUND|EAI_|ENODATA|ESERVFAIL)/;

/** RFC 8489 §6.2.1: retransmission after 0.5 s, doubled each time; here until `timeout`. */
const firstRetransmission = 500;

export function stunRequest(transaction: Buffer): Buffer {
  const message = Buffer.alloc(headerLength);
  message.writeUInt16BE(bindingRequest, 0);
  message.writeUInt32BE(magicCookie, 4);
  transaction.copy(message, 8, 0, 12);
  return message;
}

/** The address in a Binding success response to this very request; undefined if it is none. */
export function parseStun(message: Buffer, transaction: Buffer): string | undefined {
  if (message.length < headerLength || message.readUInt16BE(0) !== bindingSuccess) return undefined;
  const length = message.readUInt16BE(2);
  if (
    length % 4 !== 0 ||
    message.length !== headerLength + length ||
    message.readUInt32BE(4) !== magicCookie ||
    !message.subarray(8, headerLength).equals(transaction.subarray(0, 12))
  )
    return undefined;
  for (let at = headerLength; at + 4 <= message.length; ) {
    const type = message.readUInt16BE(at);
    const size = message.readUInt16BE(at + 2);
    const value = message.subarray(at + 4, at + 4 + size);
    if (value.length !== size) return undefined;
    if (type === xorMappedAddress) return readAddress(value, message);
    // RFC 8489 §14: values are padded to four bytes.
    at += 4 + Math.ceil(size / 4) * 4;
  }
  return undefined;
}

/** The address is XORed with the cookie and the transaction id, which follow each other in the header. */
function readAddress(value: Buffer, message: Buffer): string | undefined {
  const family = value[1];
  const bytes = family === 1 ? 4 : family === 2 ? 16 : 0;
  if (bytes === 0 || value.length !== 4 + bytes) return undefined;
  const address = Buffer.from(value.subarray(4)).map((byte, i) => byte ^ (message[4 + i] ?? 0));
  if (bytes === 4) return [...address].join('.');
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((address[i * 2] ?? 0) << 8) | (address[i * 2 + 1] ?? 0)).toString(16),
  );
  return canonical(groups.join(':'));
}

/**
 * A look-up as node:dgram calls it: with the family alone, for one address, and also for the address
 * that it binds to (`0.0.0.0`, `::`), which needs none.
 */
function lookupOf(lookup: LookupFunction, family: Family): SocketOptions['lookup'] {
  return (name, _options, callback) =>
    familyOf(name) === family
      ? callback(null, name, family)
      : lookup(name, { family }, (error, address, found) =>
          callback(
            error,
            Array.isArray(address) ? (address[0]?.address ?? '') : address,
            found ?? family,
          ),
        );
}

/**
 * Asks a STUN server for the address that it sees.
 * @param server `host:port`.
 * @throws Error that says why there is no answer.
 */
export async function askStun(
  server: string,
  family: Family,
  { timeout, lookup }: { timeout: number; lookup?: LookupFunction | undefined },
): Promise<string> {
  const host = server.slice(0, server.lastIndexOf(':')).replace(/^\[|\]$/g, '');
  const port = Number(server.slice(server.lastIndexOf(':') + 1));
  const transaction = randomBytes(12);
  const socket = createSocket({
    type: family === 4 ? 'udp4' : 'udp6',
    ...(lookup ? { lookup: lookupOf(lookup, family) } : {}),
  });
  let timer: NodeJS.Timeout | undefined;
  try {
    return await new Promise<string>((resolve, reject) => {
      const deadline = AbortSignal.timeout(timeout);
      deadline.addEventListener('abort', () => reject(new Error('no answer')));
      const fail = ({ code }: NodeJS.ErrnoException) =>
        reject(
          new Error(unresolved.test(code ?? '') ? 'its name cannot be resolved' : 'no answer'),
        );
      socket.on('error', fail);
      socket.on('message', (message) => {
        const address = parseStun(message, transaction);
        // Anything else may be forged by others; the real answer may still come.
        if (address !== undefined) resolve(address);
      });
      // Connected, so that the kernel drops what comes from anybody else.
      socket.connect(port, host, (error?: NodeJS.ErrnoException) => {
        // Other than the types say, node:dgram hands a failed look-up or connection here.
        if (error) return fail(error);
        const send = (wait: number) => {
          socket.send(stunRequest(transaction), (error) => {
            if (error) fail(error);
          });
          timer = setTimeout(() => send(wait * 2), wait);
        };
        send(firstRetransmission);
      });
    });
  } finally {
    clearTimeout(timer);
    socket.close();
  }
}
