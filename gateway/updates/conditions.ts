import type { System } from '../../firstboot/system.ts';
import type { Condition } from '../alerts/condition.ts';
import { lastResult } from './last.ts';
import { readState } from './runtime/store.ts';

/** What the owner should know of updates; for monitoring, which looks again and again. */
export async function updateConditions(system: System): Promise<Condition[]> {
  const last = await lastResult(system).catch(() => null);
  const { last: runtime } = await readState(system);
  const unwell = last?.checks.map((one) => one.id).join(', ') ?? '';
  const texts = {
    ok: '',
    nothing: '',
    failed: `Updates could not be installed: ${last?.detail.split('\n')[0]}. See: sudo pi-gateway update status`,
    undone: `An update was undone, as the gateway was not well after it (${unwell}); it is with the packages of before`,
    unwell: `The gateway is not well since an update (${unwell}), which could not be undone. See: sudo pi-gateway update status`,
  };
  const state = last?.state ?? 'ok';
  return [
    {
      source: 'updates:last',
      active: texts[state] !== '',
      severity: state === 'unwell' ? 'critical' : 'warning',
      text: texts[state],
      needs: state === 'failed' ? ['uplink'] : [],
    },
    {
      source: 'updates:runtime',
      active: runtime?.state === 'undone' && runtime.what === 'apply',
      severity: 'warning',
      text: `Version ${runtime?.version ?? 'of the image'} of the gateway's own programs was undone; those of before run (${runtime?.detail ?? ''}). See: sudo pi-gateway update runtime status`,
      needs: [],
    },
  ];
}
