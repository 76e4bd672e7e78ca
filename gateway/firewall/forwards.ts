import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { forwardMistakes } from '../../stages/firewall/forwards.ts';
import type { Forward } from '../../stages/firewall/options.ts';
import { forwardRules } from '../../stages/firewall/rules.ts';
import { type Policy, zoneOf } from '../../stages/firewall/zones.ts';
import { GatewayError } from '../errors.ts';
import type { Applier } from '../settings/applier.ts';
import type { DeviceForward } from './settings.ts';
import { zoneReport } from './status.ts';
import type { ForwardView } from './view.ts';

/**
 * Port forwards of the device's settings: rules of the same kind as the image's, in chains of their own.
 * /etc/nftables.conf includes the file, and loading it alone changes these chains and nothing else.
 */

export const forwardsFile = '/etc/pi-gateway/nftables.d/forwards.nft';
const candidateFile = '/run/pi-gateway/forwards.nft';

/** Chains that /etc/nftables.conf has for them (overlays/firewall), and what of a forward is in each. */
const chains = [
  ['device_forwards', 'pass'],
  ['device_destinations', 'nat'],
  ['device_hairpin', 'hairpin'],
] as const;

const emptyChains = chains.map(([name]) => `flush chain inet gateway ${name}\n`).join('');

/** Ruleset of the device's forwards: nft(8) takes all of it or nothing. */
export function forwardsRuleset(policy: Policy, forwards: readonly DeviceForward[]): string {
  const rules = forwards.map((one) => ({
    ...forwardRules(policy, one),
    note: one.name === undefined ? '' : `: ${one.name}`,
  }));
  const lines = chains.flatMap(([name, part]) => [
    `  chain ${name} {`,
    ...rules.map((rule) => `    ${rule[part]} comment "${rule.name}${rule.note}"`),
    '  }',
  ]);
  return `# Port forwards of /etc/pi-gateway/gateway.yaml. Written by pi-gateway; changes here are lost.
${emptyChains}table inet gateway {
${lines.join('\n')}
}
`;
}

export const firewallApplier: Applier = {
  areas: ['firewall'],
  check: async (system, { firewall: { forwards } }) => {
    if (forwards.length === 0) return [];
    const { policy } = await zoneReport(system);
    return forwardMistakes(policy, forwards, policy.forwards).map(({ index, key, message }) => ({
      path: ['firewall', 'forwards', index, key],
      message,
    }));
  },
  files: async (system, { firewall: { forwards } }) => {
    if (forwards.length === 0) return { [forwardsFile]: null };
    const { policy } = await zoneReport(system);
    return { [forwardsFile]: forwardsRuleset(policy, forwards) };
  },
  prove: async (system, files) => {
    const text = files[forwardsFile];
    if (text === undefined || text === null) return;
    await load(system, text, ['--check']);
  },
  activate: async (system, changed) => {
    if (!changed.includes(forwardsFile)) return;
    const text = await readIfThere(at(system, forwardsFile));
    await load(system, text ?? emptyChains, []);
  },
};

async function load(system: System, text: string, flags: readonly string[]): Promise<void> {
  const path = at(system, candidateFile);
  await mkdir(dirname(path), { recursive: true });
  try {
    await writeFile(path, text, { mode: 0o600 });
    await system.run('nft', [...flags, '--file', path]);
  } catch (cause) {
    const says = cause instanceof Error ? cause.message : String(cause);
    throw new GatewayError(
      `nft refuses the port forwards: ${says}`,
      'If the rules in force are not those of the image, they may lack the chains for it: sudo pi-gateway firewall status',
    );
  } finally {
    await rm(path, { force: true });
  }
}

/** `tcp4-443`: no two forwards have one port of one protocol and family. */
export function forwardIdOf(one: Forward): string {
  const family = one.to.includes(':') ? 6 : 4;
  return `${one.tcp === undefined ? 'udp' : 'tcp'}${family}-${one.tcp ?? one.udp}`;
}

export function viewOf(
  policy: Policy,
  one: Forward & { from?: string | undefined; name?: string | undefined },
  origin: ForwardView['origin'],
): ForwardView {
  const port = one.tcp ?? one.udp ?? 0;
  return {
    id: forwardIdOf(one),
    protocol: one.tcp === undefined ? 'udp' : 'tcp',
    port,
    to: one.to,
    to_port: one.port ?? port,
    zone: zoneOf(policy, one.to)?.name ?? null,
    from: one.from ?? null,
    name: one.name ?? null,
    origin,
  };
}
