import * as z from 'zod';
import { defineOperation } from '../api/operation.ts';
import { readStatus } from './status.ts';

const space = z.object({ total_bytes: z.number().int(), available_bytes: z.number().int() });

export const status = z.object({
  name: z.string(),
  device_id: z.string().nullable(),
  model: z.string().nullable(),
  image: z
    .object({ name: z.string(), base: z.string().nullable(), built: z.iso.datetime().nullable() })
    .nullable(),
  time: z.iso.datetime(),
  synchronized: z.boolean().nullable().describe('Whether the clock is; null: not known'),
  uptime_seconds: z.number().int(),
  cpus: z.number().int(),
  load: z.array(z.number()).length(3).describe('Over 1, 5 and 15 minutes'),
  memory: space,
  disk: space,
  temperature_celsius: z.number().nullable(),
  addresses: z.array(
    z.object({
      zone: z.string().describe('wan: every interface that is in no other zone'),
      interface: z.string(),
      addresses: z.array(z.string()),
    }),
  ),
  health: z.object({
    state: z.enum(['ok', 'warning', 'failed']),
    summary: z.string().describe('One sentence, the worst first'),
    findings: z.array(
      z.object({ state: z.enum(['warning', 'failed']), source: z.string(), text: z.string() }),
    ),
  }),
  alerts: z.object({
    critical: z.number().int(),
    warning: z.number().int(),
    info: z.number().int(),
  }),
  vpn: z
    .object({ connected: z.number().int(), total: z.number().int() })
    .nullable()
    .describe('Clients; connected: heard of in the last 3 minutes. null: the VPN is off'),
  ddns: z
    .object({ state: z.string(), summary: z.string() })
    .nullable()
    .describe('null: not set up'),
  updates: z.object({
    pending: z.number().int().nullable().describe('Packages; null: not looked yet'),
    reboot_required: z.boolean(),
  }),
  firewall: z
    .enum(['active', 'pending', 'closed', 'none', 'unknown'])
    .describe(
      'pending: rules on trial; closed: the others are broken, so only SSH and WireGuard are open; none: the device is open',
    ),
  dashboard: z
    .array(z.object({ zone: z.string(), url: z.string() }))
    .describe('Where clients of a zone find the dashboard: by name in the VPN'),
  stages: z
    .array(z.string())
    .describe('Parts that the image was built with: stages of gateway.yaml'),
  claimed: z.boolean().describe('Whether the dashboard has an owner'),
});

export const statusGet = defineOperation({
  id: 'statusGet',
  method: 'get',
  path: '/status',
  area: 'status',
  summary: 'The gateway at a glance',
  role: 'viewer',
  response: status,
  run: (context) => readStatus(context),
});

export const statusOperations = [statusGet] as const;
