import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { cloudflareRequest, parseCloudflare, parseZone } from '../../ddns/providers/cloudflare.ts';
import { type Context, endpoint, plain } from '../../ddns/providers/provider.ts';
import { keyFile, parseNsupdate } from '../../ddns/providers/rfc2136.ts';
import { oneLine } from '../../ddns/redact.ts';
import type { ProviderSettings, SettingsOf } from '../../ddns/settings.ts';

/** What the proof in DNS needs of the world. */
export type World = Pick<Context, 'exchange' | 'run' | 'timeout'>;

/** Sets and takes away the TXT record that proves a name (RFC 8555 §8.4). @throws Error that says why not. */
export type TxtProvider = {
  label: string;
  /** Whether this provider has the name, or the zone that it is in. */
  covers(name: string): boolean;
  set(record: string, value: string, world: World): Promise<void>;
  clear(record: string, value: string, world: World): Promise<void>;
};

/** Of the owner's providers, in their order, the first that has the name. */
export function providerFor(
  providers: readonly ProviderSettings[],
  name: string,
): TxtProvider | undefined {
  return providers.map(txtProviderOf).find((one) => one?.covers(name));
}

function txtProviderOf(settings: ProviderSettings): TxtProvider | undefined {
  switch (settings.type) {
    case 'cloudflare':
      return cloudflare(settings);
    case 'duckdns':
      return duckdns(settings);
    case 'rfc2136':
      return rfc2136(settings);
    default:
      return undefined;
  }
}

const isWithin = (name: string, zone: string) => name === zone || name.endsWith(`.${zone}`);

/** Seconds that others may keep the record: it is new each time. */
const ttl = 60;

/** developers.cloudflare.com/api, DNS records of a zone. */
function cloudflare(settings: SettingsOf<'cloudflare'>): TxtProvider {
  const ask = async (world: World, ...request: Parameters<typeof cloudflareRequest>) => {
    const parsed = parseCloudflare(await world.exchange(cloudflareRequest(...request)), new Date());
    if ('result' in parsed) return parsed.result;
    // "It is so already", as of a run that was cut off.
    if (parsed.outcome.kind === 'unchanged') return undefined;
    throw new Error(`Cloudflare ${'reason' in parsed.outcome ? parsed.outcome.reason : 'fails'}`);
  };
  const zoneOf = async (world: World) => {
    const id = parseZone(
      await ask(world, settings, 'GET', '/zones', { name: settings.zone }),
      settings.zone,
    );
    if (id === undefined) throw new Error(`Cloudflare shows this token no zone ${settings.zone}`);
    return id;
  };
  return {
    label: 'Cloudflare',
    covers: (name) => isWithin(name, settings.zone),
    set: async (record, value, world) => {
      const path = `/zones/${await zoneOf(world)}/dns_records`;
      const body = { type: 'TXT', name: record, content: `"${value}"`, ttl };
      await ask(world, settings, 'POST', path, {}, body);
    },
    clear: async (record, value, world) => {
      const path = `/zones/${await zoneOf(world)}/dns_records`;
      const found = await ask(world, settings, 'GET', path, { type: 'TXT', name: record });
      for (const one of (Array.isArray(found) ? found : []) as {
        id?: unknown;
        content?: unknown;
      }[])
        if (
          typeof one.id === 'string' &&
          /^[A-Za-z0-9_-]{1,64}$/.test(one.id) &&
          String(one.content).replaceAll('"', '') === value
        )
          await ask(world, settings, 'DELETE', `${path}/${one.id}`);
    },
  };
}

/** duckdns.org/spec.jsp, TXT Record API: one for the name and all below it. */
function duckdns(settings: SettingsOf<'duckdns'>): TxtProvider {
  const send = async (record: string, more: Record<string, string>, world: World) => {
    const label = record.split('.').at(-3) ?? '';
    const { status, body } = await world.exchange({
      url: endpoint(settings.server ?? 'https://www.duckdns.org', '/update', {
        domains: label,
        token: settings.token,
        ...more,
      }),
    });
    if (status !== 200 || plain(body) !== 'OK')
      throw new Error(`DuckDNS refuses the record (${oneLine(body).slice(0, 40)}, HTTP ${status})`);
  };
  return {
    label: 'DuckDNS',
    covers: (name) => settings.hostnames.some((own) => isWithin(name, own)),
    set: (record, txt, world) => send(record, { txt }, world),
    clear: (record, txt, world) => send(record, { txt, clear: 'true' }, world),
  };
}

/** RFC 2136, by nsupdate(1). */
function rfc2136(settings: SettingsOf<'rfc2136'>): TxtProvider {
  const send = async (change: string, world: World) => {
    // A file that only we can read (mkdtemp makes it 0700): arguments and environment show in /proc.
    const folder = await mkdtemp(join(tmpdir(), 'acme-'));
    try {
      const file = join(folder, 'key');
      await writeFile(file, keyFile(settings), { mode: 0o600 });
      const seconds = String(Math.ceil(world.timeout / 1000));
      const script = `server ${settings.server} ${settings.port}\nzone ${settings.zone}.\n${change}\nsend\nquit\n`;
      const { code, output } = await world.run(
        'nsupdate',
        ['-v', '-t', seconds, '-k', file],
        script,
      );
      const outcome = parseNsupdate(code, output);
      if ('reason' in outcome) throw new Error(`The name server ${outcome.reason}`);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  };
  return {
    label: 'RFC 2136',
    covers: (name) => isWithin(name, settings.zone),
    set: (record, value, world) => send(`update add ${record}. ${ttl} TXT "${value}"`, world),
    clear: (record, value, world) => send(`update delete ${record}. TXT "${value}"`, world),
  };
}
