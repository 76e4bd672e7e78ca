import * as z from 'zod';
import { proxyZones } from './facts.ts';
import { proxyService, serviceName } from './settings.ts';

/** What the API says of services behind the proxy. */
export const site = z.object({
  name: z.string(),
  urls: z.array(z.string()),
  to: z.string(),
  zones: z.array(z.enum(proxyZones)),
  mtls: z.union([z.boolean(), z.array(z.string())]),
  origin: z.enum(['gateway', 'settings']).describe('The dashboard is the gateway’s own'),
  certificates: z.array(
    z.object({
      names: z.array(z.string()),
      by: z.enum(['gateway', 'public']),
      not_after: z.string().nullable().describe('null: there is none yet'),
      problem: z.string().nullable(),
    }),
  ),
});

export const proxyState = z.object({
  available: z.boolean().describe('False where the image was built without stage `proxy`'),
  acme: z.boolean().describe('Whether certificates of a public CA are set up'),
  sites: z.array(site),
});
export type ProxyState = z.output<typeof proxyState>;

export const newService = z.strictObject({
  name: serviceName,
  to: proxyService.shape.to,
  names: proxyService.shape.names,
  zones: proxyService.shape.zones,
  mtls: proxyService.shape.mtls,
});
