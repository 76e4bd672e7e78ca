import { connect, type Socket } from 'node:net';

/**
 * Asks over D-Bus, as much of it as asking systemd needs (dbus.freedesktop.org/doc/dbus-specification.html).
 * systemctl(1) would do, but a process every 10 seconds is most of what monitoring would cost; this costs
 * about a millisecond.
 */

export const systemBus = '/run/dbus/system_bus_socket';

/** Milliseconds until an answer is given up; systemd answers in a few. */
const timeout = 5000;

/** The specification's own bound. */
const longestMessage = 134_217_728;

export type Value = string | number | bigint | boolean | Value[];

export type Call = {
  destination: string;
  path: string;
  interface: string;
  member: string;
  /** Arguments: strings and lists of strings are all that is needed. */
  args?: readonly (string | readonly string[])[];
};

const messageTypes = { call: 1, reply: 2, error: 3 } as const;
/** Header fields. */
const fields = {
  path: 1,
  interface: 2,
  member: 3,
  error: 4,
  replySerial: 5,
  destination: 6,
  signature: 8,
};

export class BusError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'BusError';
  }
}

type Waiting = { resolve(values: Value[]): void; reject(error: Error): void };

/** One connection. It is made by the first call, and again by the next after it broke. */
export class Bus {
  readonly #path: string;
  #connection: Promise<Connection> | undefined;

  constructor(path = systemBus) {
    this.#path = path;
  }

  /** @throws BusError if there is no answer, or the answer is that it does not work. */
  async call(call: Call): Promise<Value[]> {
    this.#connection ??= this.#open();
    const connection = await this.#connection;
    return await connection.call(call);
  }

  close(): void {
    const connection = this.#connection;
    this.#connection = undefined;
    connection?.then(
      (open) => open.end(),
      () => undefined,
    );
  }

  #open(): Promise<Connection> {
    const forget = () => {
      if (this.#connection === made) this.#connection = undefined;
    };
    const made = Connection.open(this.#path, forget);
    made.catch(forget);
    return made;
  }
}

class Connection {
  readonly #socket: Socket;
  readonly #waiting = new Map<number, Waiting>();
  #serial = 0;
  #received: Buffer = Buffer.alloc(0);

  private constructor(socket: Socket, closed: () => void) {
    this.#socket = socket;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('close', () => {
      closed();
      this.#fail('the message bus has ended the connection');
    });
    // The process need not live for it.
    socket.unref();
  }

  static async open(path: string, closed: () => void): Promise<Connection> {
    const socket = await authenticated(path);
    const connection = new Connection(socket, closed);
    await connection.call({
      destination: 'org.freedesktop.DBus',
      path: '/org/freedesktop/DBus',
      interface: 'org.freedesktop.DBus',
      member: 'Hello',
    });
    return connection;
  }

  async call(call: Call): Promise<Value[]> {
    this.#serial += 1;
    const serial = this.#serial;
    return await new Promise<Value[]>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(serial);
        reject(new BusError(`${call.destination} does not answer within ${timeout / 1000} s`));
      }, timeout);
      this.#waiting.set(serial, {
        resolve: (values) => {
          clearTimeout(timer);
          resolve(values);
        },
        reject: (error) => {
          clearTimeout(timer);
          reject(error);
        },
      });
      this.#socket.write(encodeCall(call, serial));
    });
  }

  end(): void {
    this.#socket.destroy();
  }

  #fail(message: string): void {
    for (const { reject } of this.#waiting.values()) reject(new BusError(message));
    this.#waiting.clear();
  }

  #take(chunk: Buffer): void {
    this.#received = Buffer.concat([this.#received, chunk]);
    try {
      for (;;) {
        const length = messageLength(this.#received);
        if (length === undefined || this.#received.length < length) return;
        const message = this.#received.subarray(0, length);
        this.#received = this.#received.subarray(length);
        this.#answer(message);
      }
    } catch (error) {
      this.#fail(`the message bus sent what cannot be read: ${String(error)}`);
      this.#socket.destroy();
    }
  }

  #answer(message: Buffer): void {
    const { type, replyTo, error, body } = decodeMessage(message);
    const waiting = replyTo === undefined ? undefined : this.#waiting.get(replyTo);
    // Signals, e.g. that a name was acquired.
    if (!waiting || replyTo === undefined) return;
    this.#waiting.delete(replyTo);
    if (type === messageTypes.reply) waiting.resolve(body);
    else waiting.reject(new BusError(`${error}: ${String(body[0] ?? '')}`));
  }
}

/** "Authentication Protocol": EXTERNAL says who we are, which the socket proves. */
async function authenticated(path: string): Promise<Socket> {
  return await new Promise<Socket>((resolve, reject) => {
    const socket = connect(path);
    const fail = (message: string) => {
      socket.destroy();
      reject(new BusError(message));
    };
    socket.setTimeout(timeout, () => fail('the message bus does not answer'));
    socket.on('error', (error) => fail(`the message bus cannot be reached: ${error.message}`));
    socket.once('close', () => fail('the message bus has ended the connection'));
    socket.once('connect', () => {
      const uid = Buffer.from(String(process.getuid?.() ?? 0)).toString('hex');
      socket.write(`\0AUTH EXTERNAL ${uid}\r\n`);
    });
    socket.once('data', (answer) => {
      if (!answer.toString('latin1').startsWith('OK ')) return fail('the message bus refuses us');
      socket.setTimeout(0);
      socket.removeAllListeners('close');
      socket.write('BEGIN\r\n');
      resolve(socket);
    });
  });
}

/** Writes values with the alignment that "Marshaling" asks for, in little endian. */
class Writer {
  readonly #parts: Buffer[] = [];
  length = 0;

  align(size: number): void {
    const rest = this.length % size;
    if (rest > 0) this.bytes(Buffer.alloc(size - rest));
  }

  bytes(part: Buffer): void {
    this.#parts.push(part);
    this.length += part.length;
  }

  byte(value: number): void {
    this.bytes(Buffer.from([value]));
  }

  number(value: number): void {
    this.align(4);
    const part = Buffer.alloc(4);
    part.writeUInt32LE(value);
    this.bytes(part);
  }

  string(text: string): void {
    const part = Buffer.from(text);
    this.number(part.length);
    this.bytes(Buffer.concat([part, Buffer.alloc(1)]));
  }

  signature(text: string): void {
    this.byte(text.length);
    this.bytes(Buffer.from(`${text}\0`));
  }

  buffer(): Buffer {
    return Buffer.concat(this.#parts);
  }
}

function encodeCall(call: Call, serial: number): Buffer {
  const body = new Writer();
  const args = call.args ?? [];
  for (const arg of args) {
    if (typeof arg === 'string') {
      body.string(arg);
      continue;
    }
    // Elements of an array of strings begin right after its length: both are aligned to 4.
    const list = new Writer();
    for (const text of arg) list.string(text);
    body.number(list.length);
    body.bytes(list.buffer());
  }
  const header = new Writer();
  const field = (code: number, type: 's' | 'o', text: string) => {
    header.align(8);
    header.byte(code);
    header.signature(type);
    header.string(text);
  };
  field(fields.path, 'o', call.path);
  field(fields.interface, 's', call.interface);
  field(fields.member, 's', call.member);
  field(fields.destination, 's', call.destination);
  if (args.length > 0) {
    header.align(8);
    header.byte(fields.signature);
    header.signature('g');
    header.signature(args.map((arg) => (typeof arg === 'string' ? 's' : 'as')).join(''));
  }
  const message = new Writer();
  // Little endian, a call, no flags, version 1.
  message.bytes(Buffer.from([0x6c, messageTypes.call, 0, 1]));
  message.number(body.length);
  message.number(serial);
  message.number(header.length);
  message.bytes(header.buffer());
  message.align(8);
  message.bytes(body.buffer());
  return message.buffer();
}

/** Bytes of the message that begins here; undefined if too little of it is there to tell. */
function messageLength(buffer: Buffer): number | undefined {
  if (buffer.length < 16) return undefined;
  const little = buffer[0] === 0x6c;
  const at = (offset: number) =>
    little ? buffer.readUInt32LE(offset) : buffer.readUInt32BE(offset);
  const header = 16 + at(12);
  const length = Math.ceil(header / 8) * 8 + at(4);
  if (length > longestMessage) throw new RangeError('a message is longer than any may be');
  return length;
}

function decodeMessage(message: Buffer) {
  const reader = new Reader(message);
  reader.at = 12;
  const [header] = reader.values('a(yv)');
  reader.align(8);
  const found = new Map((header as [number, Value][]).map(([code, value]) => [code, value]));
  const replyTo = found.get(fields.replySerial);
  return {
    type: message[1],
    replyTo: typeof replyTo === 'number' ? replyTo : undefined,
    error: String(found.get(fields.error) ?? ''),
    body: reader.values(String(found.get(fields.signature) ?? '')),
  };
}

/** Reads values by their signature. Dictionaries come as lists of pairs, variants as what is in them. */
class Reader {
  readonly #buffer: Buffer;
  readonly #little: boolean;
  at = 0;

  constructor(buffer: Buffer) {
    this.#buffer = buffer;
    this.#little = buffer[0] === 0x6c;
  }

  values(signature: string): Value[] {
    const values: Value[] = [];
    for (let from = 0; from < signature.length; ) {
      const to = endOfType(signature, from);
      values.push(this.#value(signature.slice(from, to)));
      from = to;
    }
    return values;
  }

  align(size: number): void {
    this.at = Math.ceil(this.at / size) * size;
  }

  #value(type: string): Value {
    switch (type[0]) {
      case 'y':
        return this.#buffer.readUInt8(this.#step(1));
      case 'b':
        return this.#unsigned() === 1;
      case 'n':
        return this.#little
          ? this.#buffer.readInt16LE(this.#step(2))
          : this.#buffer.readInt16BE(this.#step(2));
      case 'q':
        return this.#little
          ? this.#buffer.readUInt16LE(this.#step(2))
          : this.#buffer.readUInt16BE(this.#step(2));
      case 'i':
        return this.#little
          ? this.#buffer.readInt32LE(this.#step(4))
          : this.#buffer.readInt32BE(this.#step(4));
      case 'u':
      case 'h':
        return this.#unsigned();
      case 'x':
        return this.#little
          ? this.#buffer.readBigInt64LE(this.#step(8))
          : this.#buffer.readBigInt64BE(this.#step(8));
      case 't':
        return this.#little
          ? this.#buffer.readBigUInt64LE(this.#step(8))
          : this.#buffer.readBigUInt64BE(this.#step(8));
      case 'd':
        return this.#little
          ? this.#buffer.readDoubleLE(this.#step(8))
          : this.#buffer.readDoubleBE(this.#step(8));
      case 's':
      case 'o':
        return this.#text(this.#unsigned());
      case 'g':
        return this.#text(this.#buffer.readUInt8(this.#step(1)));
      case 'v': {
        const [value] = this.values(this.#text(this.#buffer.readUInt8(this.#step(1))));
        if (value === undefined) throw new RangeError('a variant is empty');
        return value;
      }
      case 'a':
        return this.#array(type.slice(1));
      case '(':
      case '{':
        this.align(8);
        return this.values(type.slice(1, -1));
      default:
        throw new RangeError(`a value has the type ${type}`);
    }
  }

  #array(element: string): Value[] {
    const length = this.#unsigned();
    this.align(alignment(element));
    const end = this.at + length;
    const values: Value[] = [];
    while (this.at < end) values.push(this.#value(element));
    return values;
  }

  #unsigned(): number {
    return this.#little
      ? this.#buffer.readUInt32LE(this.#step(4))
      : this.#buffer.readUInt32BE(this.#step(4));
  }

  #text(length: number): string {
    const from = this.#step(1, length + 1);
    return this.#buffer.toString('utf8', from, from + length);
  }

  #step(align: number, length = align): number {
    this.align(align);
    const from = this.at;
    this.at += length;
    if (this.at > this.#buffer.length) throw new RangeError('a value is cut off');
    return from;
  }
}

function alignment(type: string): number {
  if ('({xtd'.includes(type[0] ?? '')) return 8;
  if ('nq'.includes(type[0] ?? '')) return 2;
  return 'ygv'.includes(type[0] ?? '') ? 1 : 4;
}

/** Where the complete type that begins at `from` ends. */
function endOfType(signature: string, from: number): number {
  const first = signature[from];
  if (first === 'a') return endOfType(signature, from + 1);
  if (first !== '(' && first !== '{') return from + 1;
  let depth = 0;
  for (let at = from; at < signature.length; at += 1) {
    if ('({'.includes(signature[at] ?? '')) depth += 1;
    if (')}'.includes(signature[at] ?? '')) depth -= 1;
    if (depth === 0) return at + 1;
  }
  throw new RangeError(`the signature ${signature} is none`);
}
