import * as z from 'zod';

/** Where the service leaves what its last run came to; gone after a restart until the first run. */
export const statusFile = '/run/pi-gateway-portmap/status.json';

export const methods = ['pcp', 'natpmp', 'upnp'] as const;
export type Method = (typeof methods)[number];

export const methodNames: Readonly<Record<Method, string>> = {
  pcp: 'PCP',
  natpmp: 'NAT-PMP',
  upnp: 'UPnP',
};

export const familyStatus = z.object({
  family: z.union([z.literal(4), z.literal(6)]),
  own: z.string().describe("The gateway's own address on the wan"),
  router: z.string().nullable(),
  method: z
    .enum(methods)
    .nullable()
    .describe('By which the router took the request; null: by none'),
  external_address: z.string().nullable().describe('That which the router says it has outside'),
  ports: z.array(
    z.object({
      internal: z.number().int(),
      external: z.number().int(),
      lifetime: z.number().int().describe('Seconds; 0: for good'),
    }),
  ),
  notes: z.array(z.string()).describe('What the router said to each way that was tried'),
});
export type FamilyStatus = z.output<typeof familyStatus>;

export const portmapStatus = z.object({
  checked_at: z.string(),
  /**
   * mapped: the router lets the VPN's port through; direct: there is no router that would have to; refused: it
   * does not; offline: there is no uplink; off: it is not asked; error: see the summary.
   */
  state: z.enum(['mapped', 'direct', 'refused', 'offline', 'off', 'error']),
  summary: z.string(),
  families: z.array(familyStatus),
});
export type PortmapStatus = z.output<typeof portmapStatus>;

export const verdict = z.object({
  state: z.enum(['ok', 'warning', 'failed', 'skipped']),
  found: z.string(),
  why: z.string().nullable(),
  fix: z.string().nullable(),
});

const forward = z.object({
  name: z.string().describe('What answers there'),
  protocol: z.enum(['tcp', 'udp']),
  external_port: z.number().int().describe('Port of the router'),
  internal_port: z.number().int().describe('Port of the gateway'),
});

export const routerGuide = z.object({
  device: z.string().nullable().describe('The wan interface; null: there is no uplink'),
  mac: z.string().nullable(),
  own4: z.string().nullable(),
  own6: z.string().nullable(),
  router4: z.string().nullable(),
  router6: z.string().nullable(),
  forwards: z.array(forward),
  steps: z.array(z.string()).describe('What to do in the router, in order'),
});
export type RouterGuide = z.output<typeof routerGuide>;

export const routerView = z.object({
  available: z.boolean().describe('The image has the stage that asks the router'),
  mapping: z.enum(['off', 'auto', ...methods]),
  running: z.boolean(),
  status: portmapStatus
    .nullable()
    .describe('null: the service has not run since the device was started'),
  line: verdict.describe(
    'Carrier-grade NAT, a second router, an address that others see differently',
  ),
  guide: routerGuide,
});
export type RouterView = z.output<typeof routerView>;

export const reached = z
  .object({ at: z.iso.datetime(), from: z.string() })
  .nullable()
  .describe(
    'A VPN client that came in from the internet: its latest handshake. null: none has yet',
  );
export type Reached = z.output<typeof reached>;
