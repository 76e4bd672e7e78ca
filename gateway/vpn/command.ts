import { readdir, readFile, stat } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { type Command, InvalidArgumentError } from 'commander';
import { deviceSystem } from '../../firstboot/system.ts';
import { clientZones } from '../../stages/firewall/zones.ts';
import { localClient } from '../api/client.ts';
import { GatewayError, requireRoot, UnavailableError } from '../errors.ts';
import { bytes, type Output, print } from '../terminal.ts';
import { timeText } from './moment.ts';
import type { Vpn, VpnClient } from './operations.ts';
import type { ImportResult } from './schema.ts';

const json = ['--json', 'for machines'] as const;

/** `pi-gateway vpn …`: the clients of the WireGuard server. */
export function addVpnCommands(program: Command): void {
  const vpn = program.command('vpn').description("WireGuard's clients");

  vpn
    .command('list')
    .description('show the clients, and whether their private key is still on the device')
    .option(...json)
    .action(async (o: Output) => {
      requireRoot();
      const clients = await listed();
      print(o, clients, clients.map(lineOf).join('\n') || 'No client yet.');
    });

  vpn
    .command('show')
    .description('one client: what it may, and how it is doing')
    .argument('<name>', 'the client')
    .option(...json)
    .action(async (name: string, o: Output) => {
      requireRoot();
      show(o, await localClient().call('vpnShowClient', { params: { name } }));
    });

  shaping(
    vpn
      .command('add')
      .description('make a client; its configuration is then to be had by export or qr')
      .argument('<name>', 'a-z, 0-9 and -, e.g. phone'),
  )
    .option('--public-key <key>', 'of a client that keeps its private key to itself')
    .option('--address <address>', 'in the VPN; once for each family (the next free one)', collect)
    .option(...json)
    .addHelpText(
      'after',
      `
Examples:
  sudo pi-gateway vpn add phone && sudo pi-gateway vpn qr phone --forget
  sudo pi-gateway vpn add guest --zones wan --expires 7d
  sudo pi-gateway vpn add laptop --tunnel split --zones lan,gateway --note "Ann's laptop"`,
    )
    .action(
      async (name: string, o: Shape & Output & { publicKey?: string; address?: string[] }) => {
        requireRoot();
        const client = await localClient().call('vpnAddClient', {
          body: { name, ...shapeOf(o), public_key: o.publicKey, addresses: o.address },
        });
        print(
          o,
          client,
          `${client.name} has ${client.addresses.join(' and ')}.\n  Its configuration: sudo pi-gateway vpn qr ${name} --forget, or vpn export ${name} --forget`,
        );
      },
    );

  shaping(
    vpn
      .command('change')
      .description('change what a client may, at once; others are not disturbed')
      .argument('<name>', 'the client'),
  )
    .option(...json)
    .action(async (name: string, o: Shape & Output) => {
      requireRoot();
      const body = shapeOf(o);
      if (Object.values(body).every((value) => value === undefined))
        throw new GatewayError(
          'There is nothing to change',
          'Say what: pi-gateway vpn change --help',
          'refused',
        );
      show(o, await localClient().call('vpnChangeClient', { params: { name }, body }));
    });

  for (const [word, enabled, text] of [
    ['disable', false, 'cut a client off until it is enabled again'],
    ['enable', true, 'let a client in again'],
  ] as const)
    vpn
      .command(word)
      .description(text)
      .argument('<name>', 'the client')
      .option(...json)
      .action(async (name: string, o: Output) => {
        requireRoot();
        const input = { params: { name }, body: { enabled } };
        const client = await localClient().call('vpnChangeClient', input);
        print(o, client, `${name} is ${word}d.`);
      });

  vpn
    .command('rename')
    .description('give a client another name')
    .argument('<name>', 'the client')
    .argument('<new-name>', 'a-z, 0-9 and -')
    .option(...json)
    .action(async (name: string, newName: string, o: Output) => {
      requireRoot();
      const input = { params: { name }, body: { name: newName } };
      const client = await localClient().call('vpnChangeClient', input);
      print(o, client, `${name} is ${client.name} now.`);
    });

  vpn
    .command('revoke')
    .description('cut a client off at once and for good')
    .argument('<name>', 'the client')
    .option(...json)
    .action(async (name: string, o: Output) => {
      requireRoot();
      await localClient().call('vpnRevokeClient', { params: { name } });
      print(o, { revoked: name }, `${name} is revoked: its key opens nothing any more.`);
    });

  vpn
    .command('rotate')
    .description('give a client new keys; the old ones work until it uses the new ones')
    .argument('<name>', 'the client')
    .option('--deadline <time>', 'end the old keys then at the latest, e.g. 14d', moment)
    .option('--public-key <key>', 'of a client that makes its own key')
    .option('--cancel', 'keep the old keys')
    .option(...json)
    .addHelpText(
      'after',
      `
Example:
  sudo pi-gateway vpn rotate phone --deadline 14d && sudo pi-gateway vpn qr phone --forget`,
    )
    .action(
      async (
        name: string,
        o: Output & { deadline?: string | null; publicKey?: string; cancel?: boolean },
      ) => {
        requireRoot();
        const params = { name };
        if (o.cancel) {
          const client = await localClient().call('vpnCancelRotation', { params });
          return print(o, client, `${name} keeps its keys.`);
        }
        const body = { deadline_at: o.deadline, public_key: o.publicKey };
        const client = await localClient().call('vpnRotateClient', { params, body });
        const until = client.rotation?.deadline_at;
        print(
          o,
          client,
          `The old keys of ${name} work until it uses the new ones${until ? `, and until ${until} at the latest` : ''}.\n  Its new configuration: sudo pi-gateway vpn qr ${name} --forget, or vpn export ${name} --forget`,
        );
      },
    );

  const forget = [
    '--forget',
    "then delete the client's private key from the device; the client stays a peer",
  ] as const;

  vpn
    .command('export')
    .description("print a client's configuration, its private key included")
    .argument('<name>', 'the client')
    .option(...forget)
    .action(async (name: string, o: { forget?: boolean }) => {
      requireRoot();
      await written(await exported(name));
      if (o.forget) await forgotten(name);
    });

  vpn
    .command('qr')
    .description("show a client's configuration as a QR code, for the WireGuard app")
    .argument('<name>', 'the client')
    .option(...forget)
    .action(async (name: string, o: { forget?: boolean }) => {
      requireRoot();
      const input = await exported(name);
      if (!/^PrivateKey = /m.test(input))
        throw new GatewayError(
          `The private key of '${name}' is on the client alone, so a QR code would be of no use`,
          `Take the file, and put the key in: sudo pi-gateway vpn export ${name}`,
        );
      // Made here: the API has it as a picture. On standard input: what stands in arguments everybody on
      // the machine can read.
      await written(await ownSystem().run('qrencode', ['--type=ansiutf8'], { input }));
      if (o.forget) await forgotten(name);
    });

  vpn
    .command('forget')
    .description("delete a client's private key from the device; the client stays a peer")
    .argument('<name>', 'the client')
    .action(async (name: string) => {
      requireRoot();
      await forgotten(name);
      process.stdout.write(`The private key of ${name} is not on this device any more.\n`);
    });

  addServerCommands(vpn);

  vpn
    .command('import')
    .description(
      'take over clients of PiVPN or wg-easy; without --apply only says what would be done',
    )
    .argument(
      '<path...>',
      'wg0.conf, configs/, clients.txt of PiVPN; wg0.json or *.conf of wg-easy',
    )
    .option('--kind <tool>', 'pivpn or wg-easy', 'auto')
    .option('--new-addresses', "for clients whose addresses are not in this gateway's network")
    .option('--take-server-key', "take over the old server's key: its clients then work unchanged")
    .option('--apply', 'do it')
    .option(...json)
    .addHelpText(
      'after',
      `
Examples:
  sudo pi-gateway vpn import old/wg0.conf old/configs
  sudo pi-gateway vpn import wg0.json --take-server-key --apply`,
    )
    .action(
      async (
        paths: string[],
        o: Output & {
          kind: string;
          newAddresses?: boolean;
          takeServerKey?: boolean;
          apply?: boolean;
        },
      ) => {
        requireRoot();
        const result = await localClient().call('vpnImport', {
          body: {
            kind: kindOf(o.kind),
            files: await filesAt(paths),
            dry_run: !o.apply,
            new_addresses: o.newAddresses ?? false,
            take_server_key: o.takeServerKey ?? false,
          },
        });
        print(o, result, importText(result));
      },
    );
}

/** `pi-gateway vpn server …`: its own key. */
function addServerCommands(vpn: Command): void {
  const server = vpn.command('server').description("the server's own key, and its replacement");
  const cutOff = (text: string) => ['--cut-off', text] as const;

  server
    .command('status')
    .description('its key and port; while the key is replaced, who has moved')
    .option(...json)
    .action(async (o: Output) => {
      requireRoot();
      const now = await localClient().call('vpnShow');
      print(o, now, serverText(now));
    });

  server
    .command('rotate')
    .description('make a new key on a second port; the old one works until all clients have moved')
    .option('--deadline <time>', 'end the old key then at the latest: 14d, or never (30d)', moment)
    .option('--port <port>', 'UDP port of the new key (the other one of two)', udpPort)
    .option('--endpoint-port <port>', 'port of a router in front that leads to it', udpPort)
    .option(...json)
    .addHelpText(
      'after',
      `
Example:
  sudo pi-gateway vpn server rotate --deadline 14d
  sudo pi-gateway vpn server status      # who has not moved yet`,
    )
    .action(
      async (o: Output & { deadline?: string | null; port?: number; endpointPort?: number }) => {
        requireRoot();
        const body = { deadline_at: o.deadline, port: o.port, endpoint_port: o.endpointPort };
        const now = await localClient().call('vpnRotateServer', { body });
        print(o, now, serverText(now));
      },
    );

  server
    .command('finish')
    .description('end the old key now; it ends by itself when all clients have moved')
    .option(...cutOff('even if clients still use it'))
    .option(...json)
    .action(async (o: Output & { cutOff?: boolean }) => {
      requireRoot();
      const body = { cut_off: o.cutOff ?? false };
      const now = await localClient().call('vpnFinishServerRotation', { body });
      print(o, now, serverText(now));
    });

  server
    .command('cancel')
    .description('keep the old key')
    .option(...cutOff('even if clients use the new one already'))
    .option(...json)
    .action(async (o: Output & { cutOff?: boolean }) => {
      requireRoot();
      const query = { cut_off: o.cutOff ? 'true' : 'false' } as const;
      const now = await localClient().call('vpnCancelServerRotation', { query });
      print(o, now, serverText(now));
    });
}

export function serverText(now: Vpn): string {
  const { rotation, last_rotation: last } = now;
  const key = `${rotation ? 'New key' : 'Key'}: ${now.public_key ?? 'none'}, UDP port ${now.port} at ${now.endpoint}`;
  if (!rotation)
    return [
      key,
      ...(last
        ? [
            `The key of before ended ${last.ended_at}${last.cut_off.length > 0 ? `, and cut off ${last.cut_off.join(', ')}` : ''}.`,
          ]
        : []),
    ].join('\n');
  return [
    key,
    `Old key: ${rotation.old_public_key ?? 'none'}; it works until all clients have moved${rotation.deadline_at ? `, and until ${rotation.deadline_at} at the latest` : ''}.`,
    ...(rotation.port === now.port
      ? []
      : [`On the gateway itself it is UDP port ${rotation.port}.`]),
    `Moved: ${rotation.moved.join(', ') || 'nobody yet'}`,
    `Waiting: ${rotation.waiting.join(', ') || 'nobody'}`,
    ...(rotation.waiting.length > 0
      ? [
          '  Each needs a new file: sudo pi-gateway vpn export NAME --forget, or qr; where the key is not here any more, sudo pi-gateway vpn rotate NAME first.',
          `  Or change two lines of its own: PublicKey = ${now.public_key}, and the port of Endpoint to ${now.port}.`,
          `  A router in front must forward UDP port ${now.port}, too.`,
        ]
      : []),
  ].join('\n');
}

function udpPort(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  throw new InvalidArgumentError('It must be a port, e.g. 51821.');
}

type Shape = {
  zones?: (typeof clientZones)[number][] | null;
  tunnel?: 'full' | 'split';
  dns?: string[] | null;
  expires?: string | null;
  note?: string;
};

function shaping(command: Command): Command {
  return command
    .option('--zones <zones>', `all, none, or some of ${clientZones.join(',')}`, zones)
    .option('--tunnel <kind>', 'full: all its traffic; split: only what is for the VPN', kind)
    .option('--dns <addresses>', 'default, or its own DNS servers: 9.9.9.9,2620:fe::fe', dns)
    .option('--expires <time>', 'never, 30d, 12h, or 2027-01-31T00:00:00Z', moment)
    .option('--note <text>', 'one line, for you');
}

const shapeOf = ({ zones, tunnel, dns, expires, note }: Shape) => ({
  zones,
  tunnel,
  dns,
  expires_at: expires,
  note,
});

function zones(text: string): Shape['zones'] {
  if (text === 'all') return null;
  const words = text === 'none' ? [] : text.split(',').map((word) => word.trim());
  return words.map((word) => {
    const found = clientZones.find((zone) => zone === word);
    if (!found) throw new InvalidArgumentError(`It must be of ${clientZones.join(',')}.`);
    return found;
  });
}

function kind(text: string): 'full' | 'split' {
  if (text === 'full' || text === 'split') return text;
  throw new InvalidArgumentError('It must be full or split.');
}

function kindOf(text: string): 'auto' | 'pivpn' | 'wg-easy' {
  if (text === 'auto' || text === 'pivpn' || text === 'wg-easy') return text;
  throw new GatewayError(`'${text}' is no tool that is known`, 'Say pivpn or wg-easy', 'refused');
}

function dns(text: string): string[] | null {
  return text === 'default' ? null : text.split(',').map((one) => one.trim());
}

function collect(text: string, before: string[] = []): string[] {
  return [...before, text];
}

/** Seconds. */
const units: Readonly<Record<string, number>> = { m: 60, h: 3600, d: 86_400, w: 604_800 };

/** `30d`, a time, or never. */
export function momentOf(text: string, now: number): string | null {
  if (text === 'never') return null;
  const [, count, unit = ''] = /^(\d{1,5})([mhdw])$/.exec(text) ?? [];
  const time = count
    ? new Date(now + Number(count) * (units[unit] ?? 0) * 1000)
    : /^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d)?(Z|[+-]\d\d:\d\d)?)?$/.test(text)
      ? new Date(text)
      : undefined;
  if (!time || Number.isNaN(time.getTime()))
    throw new InvalidArgumentError('It must be never, 30d, 12h, or 2027-01-31T00:00:00Z.');
  return timeText(time);
}

const moment = (text: string) => momentOf(text, Date.now());

/** Without the daemon, too: who cannot reach the API must still see and hand over clients. */
async function listed(): Promise<VpnClient[]> {
  try {
    return (await localClient().call('vpnListClients')).clients;
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error;
    const { listClients } = await import('./clients.ts');
    return listClients(ownSystem()).map((client) => ({
      ...client,
      state: client.enabled ? 'active' : 'disabled',
      live: null,
    }));
  }
}

async function exported(name: string): Promise<string> {
  try {
    const input = { params: { name }, body: { forget: false } };
    return (await localClient().call('vpnClientConfig', input)) ?? '';
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error;
    const { handOver } = await import('./clients.ts');
    return await handOver(ownSystem(), name, false);
  }
}

async function forgotten(name: string): Promise<void> {
  try {
    await localClient().call('vpnForgetClientKey', { params: { name } });
  } catch (error) {
    if (!(error instanceof UnavailableError)) throw error;
    const { forgetClient } = await import('./clients.ts');
    await forgetClient(ownSystem(), name);
  }
}

const ownSystem = () => deviceSystem((text) => process.stderr.write(`${text}\n`));

/** Resolves when the text is with whoever reads standard output; what was not may not be forgotten. */
function written(text: string): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(text, (error) => (error ? reject(error) : resolve()));
  });
}

function lineOf(client: VpnClient): string {
  const { name, addresses, config_held: held, live, state, rotation } = client;
  const seen = live?.last_handshake_at;
  return [
    name.padEnd(16),
    addresses.join(' ').padEnd(36),
    seen ? `seen ${seen}` : 'not seen',
    ...(state === 'active' ? [] : [`(${state})`]),
    ...(rotation ? ['(waits for its new keys)'] : []),
    ...(held || rotation?.config_held ? ['(configuration here: vpn qr, vpn export)'] : []),
  ].join(' ');
}

function show(o: Output, client: VpnClient): void {
  const { live, rotation } = client;
  const rows: [string, string | null | undefined][] = [
    ['state', client.state],
    ['addresses', client.addresses.join(', ')],
    ['note', client.note],
    [
      'may reach',
      client.zones === null
        ? 'all that the vpn may'
        : client.zones.join(', ') || 'names (DNS) only',
    ],
    ['tunnel', client.tunnel],
    ['DNS', client.dns?.join(', ')],
    ['created', client.created_at],
    ['expires', client.expires_at ?? 'never'],
    ['public key', client.public_key],
    [
      'new keys',
      rotation &&
        `since ${rotation.started_at ?? '?'}${rotation.deadline_at ? `, the old ones end ${rotation.deadline_at}` : ''}`,
    ],
    ['seen', live?.last_handshake_at ?? 'not yet'],
    ['from', live?.endpoint],
    ['received', live && bytes(live.received_bytes)],
    ['sent', live && bytes(live.sent_bytes)],
    [
      'configuration',
      client.config_held || rotation?.config_held
        ? 'on this device: vpn qr, vpn export'
        : undefined,
    ],
  ];
  const lines = rows.flatMap(([key, value]) => (value ? [`  ${key.padEnd(14)} ${value}`] : []));
  print(o, client, [client.name, ...lines].join('\n'));
}

/** Files, and those of folders that may be meant; folders in them are not looked into. */
async function filesAt(paths: readonly string[]): Promise<{ name: string; text: string }[]> {
  const files: { name: string; text: string }[] = [];
  for (const path of paths) {
    const facts = await stat(path).catch((cause: NodeJS.ErrnoException) => {
      throw new GatewayError(`${path} cannot be read: ${cause.message}`, 'Check its name');
    });
    const names = facts.isDirectory()
      ? (await readdir(path))
          .filter((name) => /^(.*\.conf|wg0\.json|clients\.txt)$/.test(name))
          .sort()
          .map((name) => join(path, name))
      : [path];
    for (const name of names)
      files.push({ name: basename(name), text: await readFile(name, 'utf8') });
  }
  return files;
}

function importText({ clients, done, server_key: key, warnings }: ImportResult): string {
  const lines = clients.map(({ name, was, action, why, addresses, needs_new_config: needs }) =>
    action === 'add'
      ? `${done ? 'added' : 'would add'}  ${name}${name === was ? '' : ` (${was})`}  ${addresses.join(' ')}${needs ? '  needs a new file' : ''}`
      : `left out  ${was}: ${why}`,
  );
  return [
    ...lines,
    `The server's key: ${key}.`,
    ...warnings.map((warning) => `Note: ${warning}.`),
    ...(done ? [] : ['Nothing was changed; with --apply it is done.']),
  ].join('\n');
}
