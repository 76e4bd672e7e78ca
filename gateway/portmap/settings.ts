import * as z from 'zod';
import { methods } from './view.ts';

/** `router:` of /etc/pi-gateway/gateway.yaml: what is asked of the router before the gateway. */
export const routerSettings = z.strictObject({
  mapping: z
    .enum(['off', 'auto', ...methods], { error: 'must be off, auto, pcp, natpmp or upnp' })
    .default('off')
    .describe(
      "Ask the router to let the VPN's port through; auto: by PCP, else NAT-PMP, else UPnP (docs/router.md)",
    ),
  lease: z
    .number({ error: 'must be a number of seconds' })
    .int()
    // Three tries of the timer; RFC 6887, 15: a day is the most that makes sense.
    .min(3600, 'must be at least 3600: the timer asks again every 15 min')
    .max(86_400, 'must be at most 86400, a day')
    .default(7200)
    .describe('Seconds that the router is asked to keep it for; it is renewed every 15 min'),
  ipv6: z
    .boolean({ error: 'must be true or false' })
    .default(true)
    .describe("Ask for the port in the router's IPv6 firewall, too (PCP)"),
});

export type RouterSettings = z.output<typeof routerSettings>;
