import { defineOperation } from '../api/operation.ts';
import { measureArgs, mtuArgs, tuningView } from './view.ts';

const tuningGet = defineOperation({
  id: 'tuningGet',
  method: 'get',
  path: '/tuning',
  area: 'tuning',
  summary: 'What network tuning has set, shaping, and what was measured last',
  role: 'viewer',
  response: tuningView,
  run: (context) => context.call('tuning.state', {}),
});

const tuningMeasure = defineOperation({
  id: 'tuningMeasure',
  method: 'post',
  path: '/tuning/measure',
  area: 'tuning',
  summary:
    'Measures latency under load without shaping and with it; `running` of GET /tuning says when it is done',
  role: 'admin',
  body: measureArgs,
  response: tuningView,
  status: 202,
  run: (context, { body }) => context.call('tuning.measure', body),
});

const tuningMtu = defineOperation({
  id: 'tuningMtu',
  method: 'post',
  path: '/tuning/mtu',
  area: 'tuning',
  summary:
    'Looks for the largest packet that gets to VPN clients whole; `running` of GET /tuning says when it is done',
  role: 'admin',
  body: mtuArgs,
  response: tuningView,
  status: 202,
  run: (context, { body }) => context.call('tuning.mtu', body),
});

export const tuningOperations = [tuningGet, tuningMeasure, tuningMtu] as const;
