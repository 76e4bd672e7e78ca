import { localNames } from '../../firstboot/hosts.ts';
import type { System } from '../../firstboot/system.ts';
import { readHostname } from '../image-facts.ts';
import { readProxyFacts } from '../proxy/facts.ts';

/** Where the proxy hands out what anybody may have, without TLS: who comes for it does not trust the CA yet. */
export const publicPaths = {
  page: '/trust',
  certificate: '/pki/root.crt',
  pem: '/pki/root.pem',
  profile: '/pki/root.mobileconfig',
  issuingCrl: '/pki/issuing.crl',
  rootCrl: '/pki/root.crl',
} as const;

/** The name that the gateway has in its own networks, e.g. attic.home.arpa. */
export async function ownName(system: System): Promise<string> {
  const [name = ''] = localNames(await readHostname(system));
  return name;
}

/** Where clients find what is revoked; nowhere on an image without the proxy. */
export async function crlUrls(
  system: System,
): Promise<{ issuing: string | undefined; root: string | undefined }> {
  if (!(await readProxyFacts(system))) return { issuing: undefined, root: undefined };
  const base = `http://${await ownName(system)}`;
  return { issuing: `${base}${publicPaths.issuingCrl}`, root: `${base}${publicPaths.rootCrl}` };
}
