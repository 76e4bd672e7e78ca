import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { at, type System, writeDurably } from '../../firstboot/system.ts';
import type { Zone } from '../../stages/define.ts';
import { GatewayError } from '../errors.ts';
import type { ContainersFacts } from './facts.ts';
import { portsFile } from './places.ts';

/**
 * The firewall's rules for containers' ports: each answers to the zones that it is opened for. They are in
 * chains of their own, which /etc/nftables.conf has (overlays/firewall), so loading them cuts nobody off.
 */

export type OpenedPort = {
  app: string;
  name: string;
  protocol: 'tcp' | 'udp';
  port: number;
  zones: readonly Zone[];
};

const candidateFile = '/run/pi-gateway/containers.nft';

/** Sources of a zone, as nft(8) matches them; VPN clients only those that were given the containers. */
function sources(zone: Zone): readonly { family: 'any' | 'ip' | 'ip6'; match: string }[] {
  if (zone === 'wan') return [{ family: 'any', match: 'iifname != @inside' }];
  if (zone !== 'vpn') return [{ family: 'any', match: `iifname @${zone}` }];
  return [
    { family: 'ip', match: 'iifname @vpn ip saddr @vpn_containers4' },
    { family: 'ip6', match: 'iifname @vpn ip6 saddr @vpn_containers6' },
  ];
}

/**
 * @param zones those that this gateway has: another one is in no set of the rules.
 * @param own ports of the gateway itself, as `tcp 53`: at its addresses these stay its own.
 */
export function portsRuleset(
  ports: readonly OpenedPort[],
  facts: ContainersFacts,
  zones: readonly Zone[],
  own: ReadonlySet<string>,
): string {
  const rules = ports.flatMap((one) =>
    one.zones
      .filter((zone) => zones.includes(zone))
      .flatMap((zone) => sources(zone).map((source) => ({ ...one, ...source }))),
  );
  const passes = rules.map(
    ({ match, protocol, port, app, name }) =>
      `${match} ${protocol} dport ${port} accept comment "${app}: ${name}"`,
  );
  const destinations = rules
    .filter(({ protocol, port }) => !own.has(`${protocol} ${port}`))
    .flatMap(({ family, match, protocol, port, app, name }) =>
      [
        { kind: 'ip', to: facts.address4 },
        { kind: 'ip6', to: `[${facts.address6}]` },
      ]
        .filter(({ kind }) => family === 'any' || family === kind)
        .map(
          ({ kind, to }) =>
            `${match} fib daddr type local ${protocol} dport ${port} dnat ${kind} to ${to}:${port} comment "${app}: ${name}"`,
        ),
    );
  return `# Ports of containers. Written by pi-gateway; changes here are lost.
flush chain inet gateway container_ports
flush chain inet gateway container_destinations
table inet gateway {
  chain container_ports {
${[...passes, 'goto drop_forward'].map((line) => `    ${line}\n`).join('')}  }
  chain container_destinations {
${destinations.map((line) => `    ${line}\n`).join('')}  }
}
`;
}

/** Loads the rules, which nft(8) takes whole or not at all, and then keeps them for the next start. */
export async function applyPorts(system: System, text: string): Promise<void> {
  const path = at(system, candidateFile);
  await mkdir(dirname(path), { recursive: true });
  try {
    await writeFile(path, text, { mode: 0o600 });
    await system.run('nft', ['--file', path]);
  } catch (cause) {
    throw new GatewayError(
      `nft refuses the containers' ports: ${cause instanceof Error ? cause.message : String(cause)}`,
      'If the rules in force are not those of the image, they may lack the chains for it: sudo pi-gateway firewall status',
    );
  } finally {
    await rm(path, { force: true });
  }
  await writeDurably(at(system, portsFile), text, 0o600);
}
