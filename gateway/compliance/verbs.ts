import * as z from 'zod';
import type { System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { defineVerb } from '../helper/verb.ts';
import { complianceReport } from './answer.ts';
import type { Report } from './report.ts';

export const complianceVerbs = {
  'compliance.run': defineVerb({
    summary: 'Judges the machine by the CIS benchmark',
    args: z.strictObject({}),
    result: complianceReport,
    changes: false,
    run: runCompliance,
  }),
} as const;

/**
 * By the command itself, in a unit of its own: in the helper's sandbox the mounts, the homes and /proc are
 * others than those of the machine.
 */
export async function runCompliance(system: System): Promise<z.input<typeof complianceReport>> {
  const text = await system.run('systemd-run', [
    '--quiet',
    '--collect',
    '--pipe',
    '--wait',
    '--property=RuntimeMaxSec=110',
    '--property=NoNewPrivileges=yes',
    '/usr/bin/pi-gateway',
    'compliance',
    '--json',
    // Exit code 0, whatever the score.
    '--min-score=0',
  ]);
  const report = parse(text);
  const { passed, failed, notApplicable, tailored, percent } = report.score;
  return {
    benchmark: report.benchmark,
    checked_at: new Date().toISOString(),
    score: { passed, failed, not_applicable: notApplicable, tailored, percent },
    controls: report.controls.map(({ id, title, level, state, evidence, mend, tailoring }) => ({
      id,
      title,
      level,
      state,
      evidence,
      mend: mend ?? null,
      tailoring: tailoring
        ? { reason: tailoring.reason, instead: tailoring.instead ?? null }
        : null,
    })),
  };
}

/** Of a program of the same image; what is none of it the verb's own schema refuses. */
function parse(text: string): Report {
  try {
    return JSON.parse(text) as Report;
  } catch {
    throw new GatewayError(
      'The compliance report is no JSON',
      'See what it says: sudo pi-gateway compliance',
    );
  }
}
