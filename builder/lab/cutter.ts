import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import { publicKeyOf } from '../../firstboot/wireguard-keys.ts';
import { type PeerFile, parsePeer } from '../../gateway/vpn/peer-file.ts';
import { clientZones } from '../../stages/firewall/zones.ts';
import type { DeviceState, Job } from './cut.ts';

/** The program of cutter-main.ts for the device's node. */
export async function cutterProgram(): Promise<string> {
  const { outputFiles } = await build({
    entryPoints: [fileURLToPath(new URL('cutter-main.ts', import.meta.url))],
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    write: false,
    logLevel: 'silent',
  });
  return outputFiles[0]?.text ?? '';
}

/** An address without its prefix, as RFC 5952 writes it. */
function addressOf(text: string): string {
  const [address = ''] = text.split('/');
  return address.includes(':') ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address;
}

const sorted = (list: Iterable<string>) => [...new Set(list)].toSorted().join(' ');

/** What does not belong together: files, the interface, the firewall, the settings; empty if all does. */
export function inconsistencies(state: DeviceState): string[] {
  const wrong: string[] = [];
  const peers = new Map<string, PeerFile>();
  for (const [file, text] of Object.entries(state.peers)) {
    const peer = parsePeer(text);
    if (peer) peers.set(file, peer);
    else wrong.push(`${file} is no [Peer] section`);
  }
  const enabled = [...peers].filter(([file, peer]) => {
    const own = file.endsWith('.next') ? peers.get(file.replace(/next$/, 'conf')) : peer;
    return own !== undefined && !own.disabled;
  });
  const line = (key: string, psk: string | undefined, allowed: readonly string[]) =>
    `${key}|${psk ?? '(none)'}|${sorted(allowed.map(addressOf))}`;
  const wanted = enabled.map(([, peer]) =>
    line(peer.publicKey, peer.presharedKey, peer.allowedIps),
  );
  const found = state.interface.map(({ key, psk, allowed }) => line(key, psk, allowed));
  for (const one of wanted) if (!found.includes(one)) wrong.push(`wg0 lacks ${one}`);
  for (const one of found) if (!wanted.includes(one)) wrong.push(`wg0 has ${one}`);

  const clients = enabled.filter(([file]) => file.endsWith('.conf')).map(([, peer]) => peer);
  for (const zone of clientZones)
    for (const family of ['4', '6']) {
      const set = state.sets[`vpn_${zone}${family}`];
      if (set === undefined) {
        wrong.push(`there is no set vpn_${zone}${family}`);
        continue;
      }
      const may = clients
        .filter(({ zones }) => zones === undefined || zones.includes(zone))
        .flatMap(({ allowedIps }) => allowedIps.map(addressOf))
        .filter((address) => address.includes(':') === (family === '6'));
      if (sorted(may) !== sorted(set.map(addressOf)))
        wrong.push(`vpn_${zone}${family} has [${sorted(set)}], not [${sorted(may)}]`);
    }

  for (const [file, text] of Object.entries(state.held)) {
    const key = publicKeyOf(/^PrivateKey = (.*)$/m.exec(text)?.[1] ?? '');
    const peer = peers.get(file);
    // Without its client it is nobody's, and removed later.
    if (peer && key !== peer.publicKey) wrong.push(`the configuration ${file} has another key`);
  }

  const to = [...(state.settings ?? '').matchAll(/to: ([0-9.]+)/g)].map(([, one = '']) => one);
  const rules = (text: string | null) =>
    [...(text ?? '').matchAll(/dnat ip to ([0-9.]+)/g)].map(([, one = '']) => one);
  if (sorted(rules(state.destinations)) !== sorted(to))
    wrong.push(`the settings lead to [${to}], the rules to [${rules(state.destinations)}]`);
  if (sorted(rules(state.forwards)) !== sorted(to))
    wrong.push(`the settings lead to [${to}], the file of rules to [${rules(state.forwards)}]`);
  const reboot = /reboot: '(.*)'/.exec(state.settings ?? '')?.[1];
  const atNight = /Automatic-Reboot-Time "(.*)"/.exec(state.apt ?? '')?.[1];
  if (reboot !== atNight) wrong.push(`the settings reboot at ${reboot}, apt at ${atNight}`);
  for (const file of state.halfway) wrong.push(`${file} is left`);
  return wrong;
}

/**
 * Whether a state is that before a job, or the one that the job asked for, and which; what else has changed
 * is told. Keys that were made are only known afterwards.
 */
export function outcomeOf(
  job: Job,
  before: DeviceState,
  after: DeviceState,
): { outcome: 'old' | 'new' | 'between'; wrong: string[] } {
  const wrong: string[] = [];
  const own = job.kind === 'rotate' || job.kind === 'cancel' ? 'next' : 'conf';
  const file = job.kind === 'config' ? '' : `${job.name}.${own}`;
  for (const name of new Set([...Object.keys(before.peers), ...Object.keys(after.peers)]))
    if (name !== file && before.peers[name] !== after.peers[name])
      wrong.push(`${name} has changed, too`);
  if (job.kind !== 'config' && before.settings !== after.settings)
    wrong.push('the settings have changed, too');
  const is = isNew(job, before.peers[file], after.peers[file], after.settings);
  const same =
    job.kind === 'config'
      ? before.settings === after.settings
      : before.peers[file] === after.peers[file];
  if (!is && !same) wrong.push(`neither old nor new: ${after.peers[file] ?? after.settings}`);
  return { outcome: wrong.length > 0 ? 'between' : is ? 'new' : 'old', wrong };
}

function isNew(
  { kind, zones, text }: Job,
  before: string | undefined,
  after: string | undefined,
  settings: string | null,
): boolean {
  switch (kind) {
    case 'config':
      return settings === text;
    case 'cancel':
      return after === undefined;
    case 'add':
    case 'rotate':
      return before === undefined && parsePeer(after ?? '') !== undefined;
    case 'zones': {
      const [old, now] = [parsePeer(before ?? ''), parsePeer(after ?? '')];
      const wanted = clientZones.filter((zone) => zones?.includes(zone));
      return (
        old !== undefined &&
        now !== undefined &&
        JSON.stringify({ ...old, zones: wanted }) === JSON.stringify({ ...now, zones: now.zones })
      );
    }
  }
}
