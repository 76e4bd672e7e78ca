import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { Bus } from './bus.ts';
import { Systemd, unitCheck } from './checks/units.ts';

let folder = '';
let path = '';
const ends: (() => void)[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'pi-gateway-bus-'));
  path = join(folder, 'bus');
});
afterEach(async () => {
  for (const end of ends.splice(0)) end();
  await rm(folder, { recursive: true });
});

const here = { destination: 'org.freedesktop.DBus', path: '/org/freedesktop/DBus' };
const driver = { ...here, interface: 'org.freedesktop.DBus' };

const hasDaemon = await new Promise<boolean>((resolve) =>
  execFile('dbus-daemon', ['--version'], (error) => resolve(!error)),
);

describe.skipIf(!hasDaemon)("Debian's own message bus", () => {
  beforeEach(async () => {
    const daemon = spawn(
      'dbus-daemon',
      ['--session', '--nofork', '--nopidfile', '--print-address', `--address=unix:path=${path}`],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    ends.push(() => daemon.kill('SIGKILL'));
    await once(daemon.stdout, 'data');
  });

  test('lets us in and answers', async () => {
    const bus = new Bus(path);
    ends.push(() => bus.close());
    const [names] = await bus.call({ ...driver, member: 'ListNames' });
    expect(names).toContain('org.freedesktop.DBus');
    expect(await bus.call({ ...driver, member: 'NameHasOwner', args: ['org.example'] })).toEqual([
      false,
    ]);
    // Dictionaries of variants, with strings, numbers and bytes.
    const [credentials] = await bus.call({
      ...driver,
      member: 'GetConnectionCredentials',
      args: ['org.freedesktop.DBus'],
    });
    const found = new Map(credentials as [string, unknown][]);
    expect(found.get('UnixUserID')).toBe(process.getuid?.());
    expect(found.get('ProcessID')).toBeGreaterThan(1);
    const [features] = await bus.call({
      ...here,
      interface: 'org.freedesktop.DBus.Properties',
      member: 'Get',
      args: ['org.freedesktop.DBus', 'Features'],
    });
    expect(features).toBeInstanceOf(Array);
  });

  test('says what is wrong with a call', async () => {
    const bus = new Bus(path);
    ends.push(() => bus.close());
    await expect(bus.call({ ...driver, member: 'NoSuch' })).rejects.toThrow('UnknownMethod');
    // Texts, lists of texts, and the alignment of what follows them.
    await expect(
      bus.call({
        ...driver,
        member: 'UpdateActivationEnvironment',
        args: [['x'], 'yy', ['', 'z']],
      }),
    ).rejects.toThrow(/InvalidArgs|signature/);
    await expect(
      bus.call({
        destination: 'org.freedesktop.systemd1',
        path: '/org/freedesktop/systemd1',
        interface: 'org.freedesktop.systemd1.Manager',
        member: 'ListUnits',
      }),
    ).rejects.toThrow(/ServiceUnknown|Spawn/);
  });

  test('many at once, each with its own answer', async () => {
    const bus = new Bus(path);
    ends.push(() => bus.close());
    const answers = await Promise.all(
      Array.from({ length: 50 }, (_, index) =>
        bus.call({
          ...driver,
          member: 'NameHasOwner',
          args: [index % 2 ? 'org.x' : 'org.freedesktop.DBus'],
        }),
      ),
    );
    expect(answers.map(([owned]) => owned)).toEqual(answers.map((_, index) => index % 2 === 0));
  });
});

test('a bus that is not there, hangs up or talks nonsense is an error, and the next call tries again', async () => {
  const bus = new Bus(path);
  await expect(bus.call({ ...driver, member: 'ListNames' })).rejects.toThrow('cannot be reached');
  const behaviours: ((socket: Socket) => void)[] = [
    (socket) => socket.end(),
    (socket) => socket.write('REJECTED EXTERNAL\r\n'),
    (socket) => {
      socket.write('OK 0123\r\n');
      socket.once('data', () => socket.write(Buffer.alloc(64, 0xff)));
    },
    (socket) => {
      socket.write('OK 0123\r\n');
      socket.once('data', () => socket.end());
    },
  ];
  for (const behaviour of behaviours) {
    const server = createServer((socket) => socket.once('data', () => behaviour(socket)));
    await new Promise<void>((resolve) => server.listen(path, resolve));
    await expect(bus.call({ ...driver, member: 'ListNames' })).rejects.toThrow(
      /ended the connection|refuses us|cannot be read/,
    );
    await new Promise((resolve) => server.close(resolve));
  }
});

/** What systemd would answer, by the specification's encoding, written down here anew. */
class FakeSystemd {
  readonly server: Server;
  units: Record<string, readonly [load: string, active: string, sub: string]> = {};
  properties: Record<string, string> = {};
  calls: string[] = [];

  constructor() {
    this.server = createServer((socket) => {
      socket.once('data', () => {
        socket.write('OK 1234\r\n');
        let first = true;
        socket.on('data', (data) => {
          // BEGIN may come together with the first message.
          const messages = first ? data.subarray(data.indexOf('\n') + 1) : data;
          first = false;
          this.#answer(socket, messages);
        });
      });
    });
  }

  #answer(socket: Socket, messages: Buffer): void {
    let rest = messages;
    while (rest.length >= 16) {
      const header = rest.readUInt32LE(12);
      const end = Math.ceil((16 + header) / 8) * 8 + rest.readUInt32LE(4);
      const message = rest.subarray(0, end);
      rest = rest.subarray(end);
      const text = message.toString('latin1');
      const serial = message.readUInt32LE(8);
      const member = ['Hello', 'ListUnitsByNames', 'ListUnitsFiltered', 'Get'].find((one) =>
        text.includes(`${one}\0`),
      );
      this.calls.push(member ?? '');
      if (member === 'Hello') socket.write(reply(serial, 's', string(':1.1')));
      else if (member === 'Get') {
        const [, property] = /(Result|UnitFileState)\0$/.exec(text) ?? [];
        const value = string(this.properties[property ?? ''] ?? '');
        socket.write(
          reply(serial, 'v', Buffer.concat([Buffer.from('\x01s\0\0', 'latin1'), value])),
        );
      } else
        socket.write(reply(serial, 'a(ssssssouso)', this.#rows(member === 'ListUnitsFiltered')));
    }
  }

  #rows(failed: boolean): Buffer {
    let rows = Buffer.alloc(0);
    for (const [name, [load, active, sub]] of Object.entries(this.units)) {
      if (failed && active !== 'failed') continue;
      rows = pad(rows, 8);
      const texts = [
        name,
        'ä description',
        load,
        active,
        sub,
        '',
        '/org/freedesktop/systemd1/unit/x',
      ];
      for (const text of texts) rows = Buffer.concat([pad(rows, 4), string(text)]);
      rows = Buffer.concat([pad(rows, 4), number(0)]);
      for (const text of ['', '/']) rows = Buffer.concat([pad(rows, 4), string(text)]);
    }
    return Buffer.concat([number(rows.length), Buffer.alloc(4), rows]);
  }
}

const number = (value: number) => {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
};
const string = (text: string) =>
  Buffer.concat([number(Buffer.byteLength(text)), Buffer.from(`${text}\0`)]);
const pad = (buffer: Buffer, size: number) =>
  Buffer.concat([buffer, Buffer.alloc((size - (buffer.length % size)) % size)]);

function reply(serial: number, signature: string, body: Buffer): Buffer {
  const fields = Buffer.concat([
    Buffer.from('\x05\x01u\0', 'latin1'),
    number(serial),
    Buffer.from(`\x08\x01g\0${String.fromCharCode(signature.length)}${signature}\0`, 'latin1'),
  ]);
  const head = Buffer.concat([
    Buffer.from([0x6c, 2, 1, 1]),
    number(body.length),
    number(7),
    number(fields.length),
    fields,
  ]);
  return Buffer.concat([pad(head, 8), body]);
}

describe('a unit', () => {
  let systemd: Systemd;
  let fake: FakeSystemd;

  beforeEach(async () => {
    fake = new FakeSystemd();
    await new Promise<void>((resolve) => fake.server.listen(path, resolve));
    systemd = new Systemd(new Bus(path));
    systemd.watch(['x.service', 'y.service']);
    ends.push(
      () => systemd.close(),
      () => fake.server.close(),
    );
  });

  const look = (runs = true, optional = false) =>
    unitCheck(systemd, { unit: 'x.service', title: 'X', runs, optional, needs: [] }, 10).look();

  test.each([
    { is: ['loaded', 'active', 'running'], health: 'ok', says: 'It runs' },
    { is: ['loaded', 'active', 'exited'], health: 'ok', says: 'active (exited)' },
    { is: ['loaded', 'activating', 'start'], health: 'unknown', says: 'It is starting' },
    { is: ['loaded', 'activating', 'auto-restart'], health: 'warning', says: 'started again' },
    { is: ['loaded', 'inactive', 'dead'], health: 'failed', says: 'journalctl -u x.service' },
    { is: ['masked', 'inactive', 'dead'], health: 'unknown', says: 'masked' },
    { is: ['not-found', 'inactive', 'dead'], health: 'failed', says: 'There is no unit x.service' },
    { is: ['bad-setting', 'inactive', 'dead'], health: 'failed', says: 'bad-setting' },
  ] as const)('that is $is is $health', async ({ is, health, says }) => {
    fake.units = { 'x.service': is, 'y.service': ['loaded', 'active', 'running'] };
    expect(await look()).toMatchObject({ health, detail: expect.stringContaining(says) });
  });

  test('that has failed says why', async () => {
    fake.units = { 'x.service': ['loaded', 'failed', 'failed'] };
    fake.properties = { Result: 'oom-kill' };
    expect((await look()).detail).toBe(
      'It has failed: the device ran out of memory. Its log: journalctl -u x.service',
    );
  });

  test('of the image that this device does not have, or that is turned off, is not missed', async () => {
    fake.units = { 'x.service': ['not-found', 'inactive', 'dead'] };
    expect(await look(true, true)).toMatchObject({ health: 'unknown' });
    systemd.watch(['x.service']);
    fake.units = { 'x.service': ['loaded', 'inactive', 'dead'] };
    fake.properties = { UnitFileState: 'disabled' };
    expect(await look(true, true)).toMatchObject({ health: 'unknown' });
    fake.properties = { UnitFileState: 'enabled' };
    expect(await look(true, true)).toMatchObject({ health: 'failed' });
  });

  test('that comes and goes is well until it fails', async () => {
    fake.units = { 'x.service': ['loaded', 'inactive', 'dead'] };
    expect(await look(false)).toMatchObject({ health: 'ok' });
  });

  test('is asked for together with the others, once', async () => {
    fake.units = { 'x.service': ['loaded', 'active', 'running'] };
    await Promise.all([look(), look(), look()]);
    expect(fake.calls).toEqual(['Hello', 'ListUnitsByNames']);
    expect(await systemd.failed()).toEqual([]);
    fake.units = { ...fake.units, 'z.timer': ['loaded', 'failed', 'failed'] };
    expect(await systemd.failed()).toEqual(['z.timer']);
  });

  test('is not known while systemd cannot be asked', async () => {
    const none = new Systemd(new Bus(join(folder, 'none')));
    const check = unitCheck(
      none,
      { unit: 'x.service', title: 'X', runs: true, optional: false, needs: [] },
      10,
    );
    expect(await check.look()).toMatchObject({ health: 'unknown' });
  });
});
