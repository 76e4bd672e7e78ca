import { createHash, X509Certificate } from 'node:crypto';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { type RunOptions, readIfThere, writeDurably } from '../../../firstboot/system.ts';
import { quote, redact } from '../../ddns/redact.ts';
import { type DdnsSettings, secretsOf } from '../../ddns/settings.ts';
import { providerFor, type World } from './dns.ts';
import type { AcmeStatus } from './places.ts';
import type { AcmePlan } from './plan.ts';

/**
 * Certificates of a public CA by uacme(1), Debian's client for RFC 8555; it asks our hook for the proof in DNS.
 * Account and keys are in a folder of the client's own user, one for each CA.
 */

export type AcmeOptions = {
  plan: AcmePlan;
  ddns: DdnsSettings;
  /** StateDirectory=. */
  folder: string;
  /** Program that uacme calls: {@link proveName} with what follows. */
  hook: string;
  run(command: string, args: readonly string[], options?: RunOptions): Promise<string>;
  say(text: string): void;
  now?: () => number;
};

/** Milliseconds: proofs of eight names, each with its wait. */
const patience = 3_600_000;
/** Days before its end that a certificate is renewed, at most; a third of its time, as Let's Encrypt advises. */
const renewBefore = 30;

/** Issues and renews what is due. What fails is told, and holds up no other. */
export async function runAcme(options: AcmeOptions): Promise<AcmeStatus> {
  const { plan, ddns, folder, say, now = Date.now } = options;
  const account = join(
    folder,
    `ca-${createHash('sha256').update(plan.directory).digest('hex').slice(0, 12)}`,
  );
  const live = join(folder, 'live');
  await mkdir(live, { recursive: true, mode: 0o700 });
  const status: AcmeStatus = { looked_at: new Date(now()).toISOString(), certificates: [] };
  const clean = (error: unknown) => {
    const text = error instanceof Error ? error.message : String(error);
    return quote(redact(lastOf(text), secretsOf(ddns)));
  };
  let refused: string | undefined;
  if ((await readIfThere(join(account, 'private/key.pem'))) === undefined)
    await uacme(options, account, ['new', ...(plan.email === null ? [] : [plan.email])]).catch(
      (error: unknown) => {
        refused = clean(error);
      },
    );
  for (const { name, dns } of plan.sites) {
    const file = join(live, `${name}.pem`);
    const orphan = dns.find((one) => providerFor(ddns.providers, one) === undefined);
    let problem: string | null =
      refused ??
      (orphan === undefined
        ? null
        : `no provider of dynamic DNS that can prove names has ${orphan}: cloudflare, duckdns and rfc2136 can`);
    if (problem === null)
      try {
        // That of this CA: one of another, as of its staging, is replaced.
        const own = await readIfThere(join(account, dns[0] ?? '', 'cert.pem'));
        const why = reasonFor(own, dns, now());
        if (why !== undefined) {
          // What uacme itself finds good has other names, or it looked with another clock.
          await uacme(options, account, ['--force', 'issue', ...dns]);
          say(`A certificate of ${dns.join(', ')}: ${why}`);
        }
        await install(account, dns, file);
      } catch (error) {
        problem = clean(error);
      }
    if (problem !== null) say(`${dns.join(', ')}: ${problem}`);
    const certificate = certificateIn(await readIfThere(file));
    status.certificates.push({
      name,
      dns: [...dns],
      not_after: certificate ? new Date(certificate.validTo).toISOString() : null,
      problem,
    });
  }
  const kept = new Set(plan.sites.map(({ name }) => `${name}.pem`));
  for (const name of await readdir(live))
    if (!kept.has(name)) await rm(join(live, name), { force: true });
  await writeDurably(join(folder, 'status.json'), `${JSON.stringify(status)}\n`, 0o600);
  return status;
}

/** What programs say last is what they failed of; our hook's word says more than uacme's that follows. */
function lastOf(text: string): string {
  const lines = text.trim().split('\n');
  return lines.findLast((line) => !line.startsWith('uacme:')) ?? lines.at(-1) ?? '';
}

/** @returns why there must be a new one; undefined: what there is will do. */
function reasonFor(
  pem: string | undefined,
  dns: readonly string[],
  now: number,
): string | undefined {
  const certificate = certificateIn(pem);
  if (!certificate) return 'there was none';
  const names = (certificate.subjectAltName ?? '').split(', ').map((one) => one.slice(4));
  if (names.toSorted().join() !== dns.toSorted().join()) return 'its names have changed';
  const [from, to] = [Date.parse(certificate.validFrom), Date.parse(certificate.validTo)];
  return to - now < Math.min(renewBefore * 86_400_000, (to - from) / 3)
    ? 'its time is nearly over'
    : undefined;
}

function certificateIn(pem: string | undefined): X509Certificate | undefined {
  const block = /-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/.exec(pem ?? '')?.[0];
  try {
    return block === undefined ? undefined : new X509Certificate(block);
  } catch {
    return undefined;
  }
}

async function uacme(
  { plan, hook, run }: AcmeOptions,
  account: string,
  args: readonly string[],
): Promise<void> {
  await run(
    'uacme',
    [
      ...['--confdir', account, '--acme-url', plan.directory, '--hook', hook, '--yes'],
      ...['--type', 'EC', '--no-ocsp', '--days', String(renewBefore)],
      ...args,
    ],
    { timeout: patience },
  );
}

/** Key and chain in one file, so that no power cut parts a pair. */
async function install(account: string, dns: readonly string[], file: string): Promise<void> {
  const [first = ''] = dns;
  const key = await readIfThere(join(account, 'private', first, 'key.pem'));
  const chain = await readIfThere(join(account, first, 'cert.pem'));
  if (key === undefined || certificateIn(chain) === undefined)
    throw new Error('uacme has left no certificate');
  const pem = `${key}${chain}`;
  if (pem !== (await readIfThere(file))) await writeDurably(file, pem, 0o600);
}

/**
 * What uacme asks its hook: `begin|done|failed TYPE IDENTIFIER TOKEN VALUE`; of dns-01 the value is the record's.
 * @returns the exit code: 1 declines, and uacme asks for another kind of proof.
 */
export async function proveName(
  args: readonly string[],
  ddns: DdnsSettings,
  wait: number,
  world: World,
): Promise<number> {
  const [method = '', type = '', name = '', , value = ''] = args;
  if (type !== 'dns-01' || !/^[A-Za-z0-9_-]{43}$/.test(value)) return 1;
  const provider = providerFor(ddns.providers, name);
  if (!provider) return 1;
  const record = `_acme-challenge.${name}`;
  if (method !== 'begin') {
    await provider.clear(record, value, world);
    return 0;
  }
  await provider.set(record, value, world);
  // A name server's copies take a while to have it.
  await new Promise((resolve) => setTimeout(resolve, wait * 1000));
  return 0;
}
