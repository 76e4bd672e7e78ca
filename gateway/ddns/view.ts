import type { Family } from './address.ts';

/** Where the service leaves what its last run came to; gone after a restart until the first run. */
export const statusFile = '/run/pi-gateway-ddns/status.json';

/** The settings, as first boot writes them. */
export const settingsPath = '/etc/pi-gateway/ddns.yaml';

export type RecordStatus = {
  type: 'A' | 'AAAA';
  /** What the provider last confirmed. */
  address: string | null;
  since: string | null;
  failures: number;
  next_attempt: string | null;
  notes: string[];
};

export type ProviderStatus = {
  provider: string;
  type: string;
  hostnames: string[];
  /**
   * active: its names lead here; failing: not for long enough to be given up; down: the next one is
   * taken; stopped: the owner has to mend something; standby: nothing is asked of it.
   */
  state: 'active' | 'failing' | 'down' | 'stopped' | 'standby';
  stopped: { reason: string; fix: string } | null;
  records: RecordStatus[];
};

export type DdnsStatus = {
  checked_at: string;
  /**
   * registered: at the first provider; fallback: at another in its place; pending: not yet; unregistered:
   * at none; offline: no public address is known; error: the settings cannot be read.
   */
  state: 'registered' | 'fallback' | 'pending' | 'unregistered' | 'offline' | 'error';
  /** Some name leads to this device, as far as anybody can tell. */
  registered: boolean;
  /** Without a name for long, or for good until the owner mends something. */
  failed: boolean;
  summary: string;
  active: { provider: string; hostnames: string[] } | null;
  addresses: { family: Family; address: string | null; agreed: string[]; notes: string[] }[];
  providers: ProviderStatus[];
};

export function statusText(status: DdnsStatus): string {
  return [
    `${status.summary}.`,
    `Checked at ${status.checked_at}.`,
    '',
    'Public addresses',
    ...status.addresses.flatMap(({ family, address, agreed, notes }) => [
      `  IPv${family}  ${address ?? 'none'}${agreed.length > 0 ? `  agreed by ${agreed.join(', ')}` : ''}`,
      ...notes.map((note) => `        ${note}`),
    ]),
    '',
    'Providers, in the order of fall-back',
    ...status.providers.flatMap((one) => [
      `  ${one.provider.padEnd(10)} ${one.state.padEnd(8)} ${one.hostnames.join(', ')}`,
      ...(one.stopped ? [`    ${one.stopped.reason}`, `    → ${one.stopped.fix}`, ...again] : []),
      ...one.records.flatMap((record) =>
        record.address === null && record.notes.length === 0
          ? []
          : [
              `    ${record.type.padEnd(4)} ${record.address ?? '-'}${record.since ? `  since ${record.since}` : ''}`,
              ...record.notes.map((note) => `         ${note}`),
              ...(record.next_attempt ? [`         next attempt ${record.next_attempt}`] : []),
            ],
      ),
    ]),
  ].join('\n');
}

const again = ['    Mended at the provider, not here? sudo pi-gateway ddns update --again'];

/** What deserves an alert; nothing while the first provider has the name, or while it is still being tried. */
export function alertText(status: DdnsStatus): string {
  return status.state === 'fallback' || status.failed ? status.summary : '';
}
