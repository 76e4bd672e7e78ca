import * as z from 'zod';
import { defineOperation } from '../api/operation.ts';
import { serviceViews } from './view.ts';

export const serviceId = z
  .string()
  .regex(/^[a-z][a-z0-9-]{0,31}$/)
  .describe('As in the list, e.g. dns');

export const service = z.object({
  id: serviceId,
  title: z.string(),
  unit: z.string().describe("systemd's name for it"),
  state: z
    .enum(['active', 'reloading', 'inactive', 'failed', 'activating', 'deactivating'])
    .describe("systemd's ActiveState"),
  health: z.enum(['ok', 'warning', 'failed', 'unknown']),
  detail: z.string().describe('What was found, in words'),
  since: z.iso.datetime().nullable().describe('When it came into this state'),
  restarts: z.number().int().describe('How often systemd has restarted it by itself'),
  memory_bytes: z.number().int().nullable(),
  ports: z.array(
    z.object({
      port: z.number().int(),
      protocol: z.enum(['tcp', 'udp']),
      zones: z.array(z.string()).describe('Who may reach it; none: the gateway alone'),
    }),
  ),
  needs: z.array(serviceId).describe('Services without which this one cannot be well'),
  restart: z
    .enum(['restart', 'reload', 'no'])
    .describe('What a restart does: reload keeps connections and what is in force'),
  note: z.string().nullable().describe('What a restart means for others, or why there is none'),
});

export const serviceList = defineOperation({
  id: 'serviceList',
  method: 'get',
  path: '/services',
  area: 'services',
  summary: 'What runs on this gateway: state, health, ports, and what needs what',
  role: 'viewer',
  response: z.object({ services: z.array(service) }),
  run: async ({ system, monitor }) => ({ services: await serviceViews(system, monitor.checks()) }),
});

export const restarted = z.object({
  id: serviceId,
  did: z.enum(['restart', 'reload']),
  state: z.string().describe("systemd's ActiveState afterwards"),
});

export const serviceRestart = defineOperation({
  id: 'serviceRestart',
  method: 'post',
  path: '/services/{id}/restart',
  area: 'services',
  summary: 'Restarts a service, or reloads it where a restart would cut everybody off',
  role: 'admin',
  params: z.strictObject({ id: serviceId }),
  response: restarted,
  run: async (context, { params }) => ({
    id: params.id,
    ...(await context.call('service.restart', params)),
  }),
});

export const servicesOperations = [serviceList, serviceRestart] as const;
