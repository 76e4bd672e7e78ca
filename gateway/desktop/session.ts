import { X509Certificate } from 'node:crypto';
import { rm } from 'node:fs/promises';
import * as z from 'zod';
import { at, makeFolder, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { newPassword } from '../secrets/password.ts';
import { readUnits } from '../services/units.ts';
import { type DesktopAccess, type DesktopView, user } from './view.ts';

export const service = 'pi-gateway-desktop.service';
/** In memory, root's alone; systemd hands them to the unit (LoadCredential=). */
const folder = '/run/pi-gateway/desktop';
const factsFile = '/usr/share/pi-gateway/desktop.json';

const facts = z.object({
  address: z.string(),
  port: z.number().int(),
  idle_minutes: z.number().int(),
});

const unavailable = {
  available: false,
  state: 'stopped',
  address: null,
  port: null,
  idle_minutes: null,
  since: null,
} as const satisfies DesktopView;

export async function readDesktop(system: System): Promise<DesktopView> {
  const text = await readIfThere(at(system, factsFile));
  if (text === undefined) return unavailable;
  const unit = (await readUnits(system, [service])).get(service);
  const state =
    unit?.state === 'active'
      ? 'running'
      : unit?.state === 'activating'
        ? 'starting'
        : unit?.state === 'failed'
          ? 'failed'
          : 'stopped';
  return {
    available: true,
    state,
    ...facts.parse(JSON.parse(text)),
    since:
      state === 'running' && unit?.since !== undefined ? new Date(unit.since).toISOString() : null,
  };
}

async function requireDesktop(system: System): Promise<DesktopView & { address: string }> {
  const view = await readDesktop(system);
  if (!view.available || view.address === null)
    throw new GatewayError(
      'This image was built without a remote desktop',
      'Build one with it: stages: {desktop: {}} in gateway.yaml',
      'missing',
    );
  return { ...view, address: view.address };
}

/**
 * Begins a session with a password and a certificate of its own; one that runs ends, as nobody can be told its
 * password any more.
 */
export async function startDesktop(system: System): Promise<DesktopAccess> {
  const { address } = await requireDesktop(system);
  const password = newPassword();
  await makeFolder(at(system, folder), 0o700);
  const fingerprint = await makeCertificate(system, address);
  await writeDurably(at(system, `${folder}/password`), `${password}\n`, 0o600);
  try {
    await system.run('systemctl', ['reset-failed', '--', service]).catch(() => undefined);
    await system.run('systemctl', ['restart', '--', service]);
  } catch (cause) {
    throw new GatewayError(
      `The desktop did not start: ${cause instanceof Error ? cause.message.split('\n')[0] : cause}`,
      `Does the VPN run? See sudo pi-gateway logs --unit ${service}`,
    );
  } finally {
    // systemd has read them; what is not there cannot be found.
    await rm(at(system, folder), { recursive: true, force: true });
  }
  return { ...(await readDesktop(system)), user, password, fingerprint };
}

export async function stopDesktop(system: System): Promise<DesktopView> {
  await requireDesktop(system);
  await system.run('systemctl', ['stop', '--', service]);
  return await readDesktop(system);
}

/** Self-signed: it lives as long as the session, and its fingerprint is told with the password. */
async function makeCertificate(system: System, address: string): Promise<string> {
  const file = (name: string) => at(system, `${folder}/${name}`);
  await system.run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'],
    ...['-days', '2', '-subj', '/O=Pi Gateway/CN=Pi Gateway desktop'],
    ...['-addext', `subjectAltName=IP:${address}`],
    ...['-keyout', file('key.pem'), '-out', file('certificate.pem')],
  ]);
  const text = await readIfThere(file('certificate.pem'));
  return new X509Certificate(text ?? '').fingerprint256;
}
