import { isIPv4 } from 'node:net';

/**
 * Messages of the Port Control Protocol (RFC 6887) and of its forerunner NAT-PMP (RFC 6886), which share a UDP
 * port of the router. What comes in is a stranger's: each reader takes exactly what its RFC says, or nothing.
 */

/** RFC 6887, 19.1; RFC 6886, 3.1. */
export const routerPort = 5351;

/** IANA's protocol number: WireGuard speaks UDP alone. */
const udp = 17;

export type MapRequest = {
  /** 12 bytes that tie later requests to the mapping (RFC 6887, 11.1); nobody without them can end it. */
  nonce: Buffer;
  /** The gateway's own address: that which the request comes from (RFC 6887, 8.1). */
  client: string;
  internalPort: number;
  /** What is wished for; 0: any. */
  externalPort: number;
  /** Seconds; 0 ends the mapping. */
  lifetime: number;
};

/** A router's no, with its own number for the reason. */
export type Refusal = { refused: string; code: number };

export type Mapped = {
  /** Undefined where the protocol tells it elsewhere. */
  externalAddress: string | undefined;
  externalPort: number;
  /** Seconds that the router keeps it for. */
  lifetime: number;
};

const pcpVersion = 2;
const pcpMap = 1;
const pcpHeader = 24;
/** RFC 6887, 11.1: header and the MAP opcode's own part. */
const pcpLength = 60;

/**
 * RFC 6887, 13.2: this port or none. Clients of the VPN know one port, and another one would be of no use to them
 * until each has a new file.
 */
const preferFailure = Buffer.from([2, 0, 0, 0]);
/** UNSUPP_OPTION: a router may know no options. */
export const unknownOption = 5;

/** @param exact asks for this port or none. */
export function pcpMapRequest(o: MapRequest, exact: boolean): Buffer {
  const message = Buffer.alloc(pcpLength);
  message[0] = pcpVersion;
  message[1] = pcpMap;
  message.writeUInt32BE(o.lifetime, 4);
  addressBytes(o.client).copy(message, 8);
  o.nonce.copy(message, pcpHeader, 0, 12);
  message[36] = udp;
  message.writeUInt16BE(o.internalPort, 40);
  message.writeUInt16BE(o.externalPort, 42);
  // No wish for an address, in the family of the client's (RFC 6887, 11.1).
  if (isIPv4(o.client)) addressBytes('0.0.0.0').copy(message, 44);
  return exact && o.lifetime > 0 ? Buffer.concat([message, preferFailure]) : message;
}

/** RFC 6887, 7.4. */
const pcpResults: Readonly<Record<number, string>> = {
  1: 'it has another version of the protocol',
  2: 'it does not allow this device to ask (NOT_AUTHORIZED): turn port mapping on in the router',
  3: 'it did not understand the request',
  4: 'it does not map ports',
  5: 'it does not know an option',
  6: 'it did not understand an option',
  7: 'its own connection is down or has no public address (NETWORK_FAILURE)',
  8: 'it has no room for another mapping now (NO_RESOURCES)',
  9: 'it does not map UDP',
  10: 'this device has all the mappings that it may have (USER_EX_QUOTA)',
  11: 'that port of it is taken, or kept for itself (CANNOT_PROVIDE_EXTERNAL)',
  12: 'another device is between it and this one (ADDRESS_MISMATCH): a second router?',
  13: 'it has too many filters for that port',
};

/**
 * The answer to this very request; undefined for any other datagram. A router that speaks NAT-PMP alone answers
 * with version 0 (RFC 6887, 9).
 */
export function readPcp(message: Buffer, asked: MapRequest): Mapped | Refusal | undefined {
  if (message[0] === 0 && message.length >= 4 && message.length <= 16)
    return { refused: pcpResults[1] ?? '', code: 1 };
  if (message.length < pcpHeader || message[0] !== pcpVersion || message[1] !== (pcpMap | 0x80))
    return undefined;
  const result = message[3] ?? 0;
  if (result === 1) return { refused: pcpResults[1] ?? '', code: 1 };
  if (
    message.length < pcpLength ||
    !message.subarray(pcpHeader, pcpHeader + 12).equals(asked.nonce) ||
    message[36] !== udp ||
    message.readUInt16BE(40) !== asked.internalPort
  )
    return undefined;
  if (result !== 0)
    return { refused: pcpResults[result] ?? `it refuses, result ${result}`, code: result };
  return {
    externalAddress: addressText(message.subarray(44, 60)),
    externalPort: message.readUInt16BE(42),
    lifetime: message.readUInt32BE(4),
  };
}

/** RFC 6886, 3.3. */
export function natPmpMapRequest(o: MapRequest): Buffer {
  const message = Buffer.alloc(12);
  message[1] = 1;
  message.writeUInt16BE(o.internalPort, 4);
  // RFC 6886, 3.4: a request that ends a mapping has port 0.
  message.writeUInt16BE(o.lifetime === 0 ? 0 : o.externalPort, 6);
  message.writeUInt32BE(o.lifetime, 8);
  return message;
}

/** RFC 6886, 3.5. */
const natPmpResults: Readonly<Record<number, string>> = {
  1: 'it has another version of the protocol',
  2: 'it does not allow this device to ask: turn NAT-PMP on in the router',
  3: 'its own connection is down or has no public address',
  4: 'it has no room for another mapping now',
  5: 'it does not map ports',
};

export function readNatPmp(message: Buffer, asked: MapRequest): Mapped | Refusal | undefined {
  if (message.length < 8 || message[0] !== 0 || message[1] !== 0x81) return undefined;
  const result = message.readUInt16BE(2);
  if (result !== 0)
    return { refused: natPmpResults[result] ?? `it refuses, result ${result}`, code: result };
  if (message.length < 16 || message.readUInt16BE(8) !== asked.internalPort) return undefined;
  return {
    externalAddress: undefined,
    externalPort: message.readUInt16BE(10),
    lifetime: message.readUInt32BE(12),
  };
}

/** RFC 6886, 3.2. */
export const natPmpAddressRequest = Buffer.from([0, 0]);

export function readNatPmpAddress(message: Buffer): string | undefined {
  if (message.length < 12 || message[0] !== 0 || message[1] !== 0x80) return undefined;
  if (message.readUInt16BE(2) !== 0) return undefined;
  const address = [...message.subarray(8, 12)].join('.');
  return address === '0.0.0.0' ? undefined : address;
}

/** 16 bytes; IPv4 as IPv6 has it, ::ffff:a.b.c.d (RFC 6887, 5). */
function addressBytes(address: string): Buffer {
  const bytes = Buffer.alloc(16);
  if (isIPv4(address)) {
    bytes.writeUInt16BE(0xffff, 10);
    Buffer.from(address.split('.').map(Number)).copy(bytes, 12);
    return bytes;
  }
  const [head = '', tail] = address.split('::');
  const groups = (text: string) => (text === '' ? [] : text.split(':'));
  const left = groups(head);
  const right = tail === undefined ? [] : groups(tail);
  const all = [
    ...left,
    ...Array.from({ length: tail === undefined ? 0 : 8 - left.length - right.length }, () => '0'),
    ...right,
  ];
  for (const [index, group] of all.entries())
    bytes.writeUInt16BE(Number.parseInt(group, 16), index * 2);
  return bytes;
}

/** Undefined of the address that stands for none. */
function addressText(bytes: Buffer): string | undefined {
  if (bytes.subarray(0, 10).every((one) => one === 0) && bytes.readUInt16BE(10) === 0xffff) {
    const text = [...bytes.subarray(12)].join('.');
    return text === '0.0.0.0' ? undefined : text;
  }
  if (bytes.every((one) => one === 0)) return undefined;
  const groups = Array.from({ length: 8 }, (_, i) => bytes.readUInt16BE(i * 2).toString(16));
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}
