import { X509Certificate } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { deviceId } from './device-id.ts';
import { dashboardUrl } from './hosts.ts';
import { takenOver } from './run.ts';
import { adminNames } from './steps/accounts.ts';
import { recipientPath } from './steps/age-identity.ts';
import { caPath } from './steps/ca.ts';
import { claimCode } from './steps/claim.ts';
import { clientFolder } from './steps/wireguard-client.ts';
import { serverKey } from './steps/wireguard-key.ts';
import { at, makeFolder, readIfThere, type System, writeDurably } from './system.ts';

const cardPath = '/var/lib/pi-gateway/device-card.txt';

/**
 * Shows the device card above the login prompt (issue(5), /etc/issue.d) and keeps it in
 * /var/lib/pi-gateway. Whatever is not made yet is left out; written again after the claim code is used,
 * it is without it.
 * @returns its lines.
 */
export async function writeDeviceCard(system: System): Promise<string[]> {
  const card = await readDeviceCard(system);
  // The service's own umask would forbid the folder to others, whose files may lie there, too.
  await makeFolder(at(system, '/etc/issue.d'), 0o755);
  // With the claim code it is for who stands at the device: agetty(8) reads it as root, others cannot.
  await writeDurably(at(system, '/etc/issue.d/50-pi-gateway.issue'), lines(card, escaped), 0o600);
  await makeFolder(at(system, '/var/lib/pi-gateway'), 0o755);
  await writeDurably(
    at(system, cardPath),
    lines(card, (line) => line),
    0o600,
  );
  // A prompt that waits for a name already is shown anew.
  await system.run('agetty', ['--reload']).catch(() => undefined);
  return card;
}

/** The card's lines: what is there of this device's names, fingerprints and public keys, and what to do next. */
async function readDeviceCard(system: System): Promise<string[]> {
  const host = (await readIfThere(at(system, '/etc/hostname')))?.trim() || 'pi-gateway';
  // While first boot waits for its owner nobody can log in, and the reason is what counts.
  const isOpen = (await readIfThere(at(system, takenOver))) !== undefined;
  const admins = isOpen ? await adminNames(system) : [];
  const clients = await namesOf(system, clientFolder, /^([a-z0-9-]+)\.conf$/);
  const code = await claimCode(system);
  const url = await dashboardUrl(system, host);
  const facts: [string, string | undefined][] = [
    ['device', await deviceId(system).catch(() => undefined)],
    ['name', host],
    ...(await sshFingerprints(system)).map((print): [string, string] => ['SSH host key', print]),
    ['WireGuard key', await serverKey(system)],
    ['CA, SHA-256', await caFingerprint(system)],
    ['age recipient', (await readIfThere(at(system, recipientPath)))?.trim()],
    ['dashboard', url && `${url} (in the VPN)`],
    ['claim code', code],
  ];
  const steps = [
    ...admins.map((name) => `Log in: ssh ${name}@${host}`),
    ...clients.map(
      (name) => `VPN client ${name}: sudo pi-gateway vpn qr ${name}, or vpn export ${name}`,
    ),
    ...(code ? ['The claim code makes you the owner in the web interface; it works once.'] : []),
  ];
  return [
    'Pi Gateway',
    ...facts.flatMap(([name, value]) => (value ? [`  ${`${name}:`.padEnd(15)} ${value}`] : [])),
    ...steps.map((step) => `  → ${step}`),
  ];
}

async function sshFingerprints(system: System): Promise<string[]> {
  const names = await namesOf(system, '/etc/ssh', /^(ssh_host_.*_key\.pub)$/);
  const prints = names.map(async (name) => {
    // 256 SHA256:… comment (ED25519)
    const print = await system.run('ssh-keygen', ['-l', '-f', at(system, `/etc/ssh/${name}`)]);
    const [, hash = '', ...rest] = print.trim().split(' ');
    return `${hash} ${rest.at(-1) ?? ''}`;
  });
  return (await Promise.allSettled(prints)).flatMap((one) =>
    one.status === 'fulfilled' ? [one.value] : [],
  );
}

async function caFingerprint(system: System): Promise<string | undefined> {
  try {
    return new X509Certificate((await readIfThere(at(system, caPath))) ?? '').fingerprint256;
  } catch {
    return undefined;
  }
}

async function namesOf(system: System, folder: string, form: RegExp): Promise<string[]> {
  const entries = await readdir(at(system, folder)).catch(() => []);
  return entries.flatMap((entry) => form.exec(entry)?.[1] ?? []).sort();
}

function lines(card: readonly string[], line: (text: string) => string): string {
  return `${card.map(line).join('\n')}\n\n`;
}

/** agetty(8) takes a backslash for the start of an escape. */
function escaped(text: string): string {
  return text.replaceAll('\\', '\\\\');
}
