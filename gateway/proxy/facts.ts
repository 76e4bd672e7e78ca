import * as z from 'zod';
import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';

/** What stage `proxy` was told; only an image with it has the file. */
export const proxyFactsFile = '/usr/share/pi-gateway/proxy.json';

export const proxyZones = ['lan', 'vpn'] as const;
export type ProxyZone = (typeof proxyZones)[number];

const zoneFacts = z.object({
  name: z.enum(proxyZones),
  /** The gateway's own addresses there, on which systemd listens in this order. */
  addresses: z.array(z.string()),
  networks: z.array(z.string()),
});

const facts = z.object({
  zones: z.array(zoneFacts),
  /** Whether the image can get certificates of a public CA (stages.proxy.acme). */
  acme: z.boolean(),
});
export type ProxyFacts = z.output<typeof facts>;

/** @returns undefined on an image without the stage. */
export async function readProxyFacts(system: System): Promise<ProxyFacts | undefined> {
  const text = await readIfThere(at(system, proxyFactsFile));
  return text === undefined ? undefined : facts.parse(JSON.parse(text));
}

/** @throws GatewayError on an image without the stage. */
export async function needProxy(system: System): Promise<ProxyFacts> {
  const found = await readProxyFacts(system);
  if (!found)
    throw new GatewayError(
      'This image was built without certificates for services and their proxy',
      'Put `proxy: {}` below `stages:` in gateway.yaml, and build the image anew: docs/certificates.md',
      'missing',
    );
  return found;
}
