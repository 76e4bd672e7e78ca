import * as z from 'zod';
import { fqdn, ipv4, ipv6, port } from '../../builder/config/fields.ts';
import { shapers } from './shaping.ts';

/** Where the service says what it has done; gone after a restart until it has run. */
export const statusFile = '/run/pi-gateway-tuning/status.json';
/** What `net mtu` and `net tune --measure` found last. */
export const mtuFile = '/run/pi-gateway-tuning/mtu.json';
export const measureFile = '/run/pi-gateway-tuning/measure.json';

export const tuningStatus = z.object({
  applied_at: z.iso.datetime(),
  model: z.string(),
  sysctls: z.array(z.object({ key: z.string(), value: z.string(), before: z.string() })),
  uplinks: z.array(
    z.object({
      interface: z.string(),
      shaper: z.enum(shapers).nullable().describe('null: it is not there, or could not be shaped'),
      upload: z.number().nullable().describe('Mbit/s'),
      download: z.number().nullable().describe('Mbit/s'),
    }),
  ),
  spread: z.object({
    why: z.string(),
    interrupts: z.array(z.object({ irq: z.number().int(), cpus: z.string() })),
    queues: z.array(z.object({ queue: z.string(), cpus: z.string() })),
  }),
  vpn_mtu: z.number().int().nullable().describe('null: as the image was built'),
  notes: z.array(z.string()).describe('What could not be done, and why'),
});
export type TuningStatus = z.output<typeof tuningStatus>;

export const mtuReport = z.object({
  checked_at: z.iso.datetime(),
  paths: z.array(
    z.object({
      address: z.string(),
      /** ping: the far end answered; routers: only routers on the way told; null: nobody did. */
      by: z.enum(['ping', 'routers']).nullable(),
      mtu: z.number().int().nullable().describe('Bytes of a packet that gets there whole'),
      vpn_mtu: z.number().int().nullable().describe('What is left of it inside the VPN'),
    }),
  ),
  current: z.number().int().nullable().describe("MTU of the gateway's end of the VPN now"),
  suggestion: z.number().int().nullable(),
});
export type MtuReport = z.output<typeof mtuReport>;

const load = z.object({
  upload_mbit: z.number(),
  download_mbit: z.number(),
  upload_ms: z.number().describe('Median latency while the line is full of uploads'),
  download_ms: z.number().describe('Median latency while the line is full of downloads'),
});

export const measurement = z.object({
  measured_at: z.iso.datetime(),
  server: z.string(),
  idle_ms: z.number().describe('Median latency of the idle line'),
  before: load.describe('Without shaping'),
  after: load.nullable().describe('With the shaping of the settings; null: there is none'),
  ratio: z
    .number()
    .nullable()
    .describe('Latency that load adds with shaping, as a part of what it adds without'),
});
export type Measurement = z.output<typeof measurement>;

export const tuningView = z.object({
  available: z.boolean().describe('The image has the stage'),
  status: tuningStatus.nullable(),
  mtu: mtuReport.nullable(),
  measurement: measurement.nullable(),
  running: z.enum(['mtu', 'measure']).nullable().describe('What is being looked at now'),
});
export type TuningView = z.output<typeof tuningView>;

export const measureArgs = z.strictObject({
  server: z
    .union([fqdn, ipv4, ipv6], { error: 'must be a name or an address, e.g. 203.0.113.10' })
    .describe('An iperf3 server beyond the uplink, of your own: iperf3 --server'),
  port: port.default(5201),
  seconds: z.number().int().min(3).max(60).default(10).describe('Of each of four transfers'),
});

export const mtuArgs = z.strictObject({
  addresses: z
    .array(z.union([ipv4, ipv6], { error: 'must be an address' }))
    .max(8)
    .default([])
    .describe('Far ends to look to; none: those of the VPN clients that are connected'),
});
