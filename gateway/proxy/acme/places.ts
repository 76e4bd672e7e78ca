import * as z from 'zod';

/** What pi-gateway-acme.service, a user of its own, leaves for the proxy and for monitoring. */
export const acmeFolder = '/var/lib/pi-gateway-acme';
export const acmeStatusFile = `${acmeFolder}/status.json`;
/** Key, certificate and chain of a service's public names. */
export const acmeCertificateOf = (service: string): string => `${acmeFolder}/live/${service}.pem`;

export const acmeStatus = z.object({
  looked_at: z.string(),
  certificates: z.array(
    z.object({
      name: z.string(),
      dns: z.array(z.string()),
      not_after: z.string().nullable(),
      /** Why there is no new one; a stranger's text, cut short. */
      problem: z.string().nullable(),
    }),
  ),
});
export type AcmeStatus = z.output<typeof acmeStatus>;
