import { readFileSync } from 'node:fs';
import * as z from 'zod';
import { at, type System, writeDurably } from '../../firstboot/system.ts';
import type { Condition } from '../alerts/condition.ts';
import { readForeign } from '../foreign-file.ts';
import { type AcmeStatus, acmeStatus, acmeStatusFile } from '../proxy/acme/places.ts';
import { currentServers } from './issue.ts';
import { allIssued } from './store.ts';

/** What everybody on the device may know of certificates: names and dates. Lost with the power, and made anew. */
export const statusFile = '/run/pi-gateway/certificates.json';

const status = z.object({
  looked_at: z.string(),
  certificates: z.array(z.object({ name: z.string(), kind: z.string(), not_after: z.string() })),
  acme: acmeStatus.nullable(),
});
export type CertificateStatus = z.output<typeof status>;

export async function writeStatus(system: System, now: number): Promise<void> {
  const issued = await allIssued(system);
  const servers = [...currentServers(issued).values()].filter(({ revoked }) => !revoked);
  const others = issued.filter(({ kind, revoked }) => kind !== 'server' && !revoked);
  const value: CertificateStatus = {
    looked_at: new Date(now).toISOString(),
    certificates: [...servers, ...others].map(({ name, kind, not_after }) => ({
      name,
      kind,
      not_after,
    })),
    acme: await readAcmeStatus(system),
  };
  await writeDurably(at(system, statusFile), `${JSON.stringify(value)}\n`);
}

async function readAcmeStatus(system: System): Promise<AcmeStatus | null> {
  try {
    return acmeStatus.parse(JSON.parse((await readForeign(at(system, acmeStatusFile))) ?? ''));
  } catch {
    return null;
  }
}

/** @returns undefined before the first run, and on an image without the stage. */
export function readCertificateStatus(system: System): CertificateStatus | undefined {
  try {
    return status.parse(JSON.parse(readFileSync(at(system, statusFile), 'utf8')));
  } catch {
    return undefined;
  }
}

const day = 86_400_000;

/** Days before its end that the owner hears of a server's certificate: by then it should have been renewed. */
const notice = 14;

/** What the owner should know of certificates; for monitoring, which looks again and again. */
export function certificateConditions(system: System, now = Date.now()): Condition[] {
  const known = readCertificateStatus(system);
  if (!known) return [];
  const days = (time: string) => Math.floor((Date.parse(time) - now) / day);
  const late = known.certificates.filter(({ not_after }) => days(not_after) < notice);
  // Those that are ours to renew are late; who has a client's or a request's must get a new one.
  const said = (list: typeof late) =>
    list
      .slice(0, 5)
      .map(({ name, not_after }) =>
        days(not_after) < 0 ? `${name} is over` : `${name} ends in ${days(not_after)} days`,
      )
      .join(', ');
  const servers = late.filter(({ kind }) => kind === 'server');
  const others = late.filter(({ kind, not_after }) => kind !== 'server' && days(not_after) >= 0);
  const failed = known.acme?.certificates.filter(({ problem }) => problem !== null) ?? [];
  return [
    {
      source: 'certificates:renewal',
      active: servers.length > 0,
      severity: servers.some(({ not_after }) => days(not_after) < 3) ? 'critical' : 'warning',
      text:
        servers.length === 0
          ? 'All certificates are renewed in time'
          : `Certificates that should have been renewed were not: ${said(servers)}. See why: sudo journalctl -u pi-gateway-certificates`,
      needs: [],
    },
    {
      source: 'certificates:expiry',
      active: others.length > 0,
      severity: 'warning',
      text:
        others.length === 0
          ? 'No certificate is about to end'
          : `Certificates end that nobody renews by itself: ${said(others)}. Issue new ones: sudo pi-gateway certificate list`,
      needs: [],
    },
    {
      source: 'certificates:acme',
      active: failed.length > 0,
      severity: 'warning',
      text:
        failed.length === 0
          ? 'The public CA has issued all that was asked for'
          : `The public CA did not issue ${failed.map(({ name, problem }) => `${name}: ${problem}`).join('; ')}. See: sudo journalctl -u pi-gateway-acme`,
      needs: ['check:uplink', 'check:dns'],
    },
  ];
}
