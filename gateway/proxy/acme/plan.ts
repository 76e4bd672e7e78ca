import * as z from 'zod';
import type { AcmeSettings, ProxySettings } from '../settings.ts';
import type { Site } from '../sites.ts';

/** What the ACME client is to do: in the proxy's folder, without anything of the other settings. */
export const acmePlanFile = '/etc/pi-gateway/proxy/acme.json';

/** letsencrypt.org/docs/staging-environment */
const staging = 'https://acme-staging-v02.api.letsencrypt.org/directory';

export const acmePlan = z.object({
  directory: z.string(),
  email: z.string().nullable(),
  wait: z.number(),
  sites: z.array(z.object({ name: z.string(), dns: z.array(z.string()).min(1) })),
});
export type AcmePlan = z.output<typeof acmePlan>;

/** @returns undefined while nothing is asked of a public CA. */
export function planOf({ acme }: ProxySettings, sites: readonly Site[]): AcmePlan | undefined {
  const outer = sites.filter((site) => site.public.length > 0);
  if (!acme?.terms_agreed || outer.length === 0) return undefined;
  return {
    directory: directoryOf(acme),
    email: acme.email ?? null,
    wait: acme.wait_seconds,
    sites: outer.map((site) => ({ name: site.name, dns: [...site.public] })),
  };
}

const directoryOf = (acme: AcmeSettings) => (acme.staging ? staging : acme.directory);
