import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Family, recordType } from '../address.ts';
import type { Outcome } from '../outcome.ts';
import { oneLine } from '../redact.ts';
import type { SettingsOf } from '../settings.ts';
import type { Context, ParsedAnswer, Provider, Sent } from './provider.ts';

type Settings = SettingsOf<'rfc2136'>;

const stop = (says: string, match: RegExp, reason: string, fix: string): ParsedAnswer => ({
  says,
  match,
  outcome: { kind: 'stopped', reason: `${reason} (${says.replace(/^.*: /, '')})`, fix },
});
const wait = (says: string, match: RegExp, reason: string): ParsedAnswer => ({
  says,
  match,
  outcome: { kind: 'retry', reason },
});

const key = 'Correct name, secret and algorithm of the key';
const clock = "Check the gateway's clock (timedatectl) and the server's";

/** What nsupdate(1) says; the words are the response codes of RFC 2136 §2.2 and RFC 8945 §3. */
const answers: readonly ParsedAnswer[] = [
  stop('update failed: NOTAUTH(BADKEY)', /\bBADKEY\b/, 'does not know the key', key),
  stop('update failed: NOTAUTH(BADSIG)', /\bBADSIG\b/, 'finds the signature wrong', key),
  {
    says: 'update failed: NOTAUTH(BADTIME)',
    match: /\bBADTIME\b/,
    // The clock of a device without a battery is wrong until NTP has been heard.
    outcome: { kind: 'refused', reason: 'has another time than the gateway (BADTIME)', fix: clock },
  },
  stop(
    'update failed: NOTZONE',
    /\bNOTZONE\b/,
    'does not have the name in the zone',
    'Correct zone and host names',
  ),
  stop(
    'update failed: NOTAUTH',
    /\bNOTAUTH\b/,
    'is not the primary server of the zone',
    'Correct server and zone',
  ),
  stop(
    'update failed: REFUSED',
    /\bREFUSED\b/,
    'forbids the update',
    'Allow it for this key in the server (update-policy)',
  ),
  stop(
    'update failed: NOTIMP',
    /\bNOTIMP\b/,
    'takes no updates',
    'Give the primary server of the zone',
  ),
  stop(
    'update failed: FORMERR',
    /\bFORMERR\b/,
    'does not understand the update',
    'Give a server that knows RFC 2136',
  ),
  stop('update failed: YXDOMAIN', /\bYXDOMAIN\b/, 'refuses the name', 'Correct the host names'),
  stop(
    'update failed: NXRRSET',
    /\b(NXDOMAIN|NXRRSET|YXRRSET)\b/,
    'refuses the record',
    'Correct the host names',
  ),
  wait('update failed: SERVFAIL', /\bSERVFAIL\b/, 'has a fault (SERVFAIL)'),
  wait('; Communication with 192.0.2.1#53 failed: timed out', /timed out/i, 'does not answer'),
  wait(
    '; Communication with 192.0.2.1#53 failed: connection refused',
    /connection refused/i,
    'the connection was refused',
  ),
  wait(
    "couldn't get address for 'ns1.example.org': not found",
    /couldn't get address for|could not find/i,
    'its name cannot be resolved',
  ),
  wait(
    '; Communication with 192.0.2.1#53 failed: network unreachable',
    /unreachable/i,
    'the network is unreachable',
  ),
];

/** RFC 2136 §2.5: the family's records are replaced in one message, so the name is never without one. */
export function nsupdateScript(
  settings: Settings,
  family: Family,
  address: string | undefined,
): string {
  const type = recordType(family);
  return [
    `server ${settings.server} ${settings.port}`,
    `zone ${settings.zone}.`,
    ...settings.hostnames.flatMap((name) => [
      `update delete ${name}. ${type}`,
      ...(address === undefined ? [] : [`update add ${name}. ${settings.ttl} ${type} ${address}`]),
    ]),
    'send',
    'quit',
    '',
  ].join('\n');
}

/** A key as named.conf(5) has it, for nsupdate's -k. */
export function keyFile({ key: { name, algorithm, secret } }: Settings): string {
  return `key "${name}" {\n\talgorithm ${algorithm};\n\tsecret "${secret}";\n};\n`;
}

/** nsupdate(1) ends with 0 only when the server took the update; it says why on standard error. */
export function parseNsupdate(code: number, output: string): Outcome {
  if (code === 0 && !/update failed|; TSIG error|; Communication with/i.test(output))
    return { kind: 'updated' };
  const known = answers.find(({ match }) => match.test(output));
  if (known && code !== 127) return known.outcome;
  if (code === 127)
    return {
      kind: 'stopped',
      reason: 'needs nsupdate, which this image lacks',
      fix: 'Build the image with stages.ddns.rfc2136: true',
    };
  return { kind: 'retry', reason: `nsupdate failed: ${oneLine(output) || `exit code ${code}`}` };
}

async function nsupdate(
  settings: Settings,
  family: Family,
  address: string | undefined,
  { run, timeout }: Context,
): Promise<Outcome> {
  // A file that only we can read (mkdtemp makes it 0700): arguments and environment show in /proc.
  const folder = await mkdtemp(join(tmpdir(), 'ddns-'));
  try {
    const file = join(folder, 'key');
    await writeFile(file, keyFile(settings), { mode: 0o600 });
    const seconds = String(Math.max(1, Math.ceil(timeout / 1000)));
    // -v: over TCP, whose sender cannot be forged.
    const { code, output } = await run(
      'nsupdate',
      ['-v', '-t', seconds, '-k', file],
      nsupdateScript(settings, family, address),
    );
    return parseNsupdate(code, output);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

export const rfc2136: Provider<'rfc2136'> = {
  type: 'rfc2136',
  label: 'RFC 2136',
  minimumInterval: 60,
  families: () => [4, 6],
  answers,
  update: (settings, sent: Sent, context) => nsupdate(settings, sent.family, sent.address, context),
  clear: {
    wholly: false,
    run: (settings, family, context) => nsupdate(settings, family, undefined, context),
  },
};
