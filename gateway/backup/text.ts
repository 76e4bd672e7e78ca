import { bytes } from '../terminal.ts';
import type { BackupView, TargetView } from './view.ts';

/** How backups are, for a terminal. */
export function statusText({ targets, running, restore, every }: BackupView): string {
  if (targets.length === 0)
    return 'No target is set: nothing is backed up. docs/backups.md has an example of each kind.';
  return [
    ...(running.length > 0 ? [`Under way: ${running.join(', ')}`] : []),
    ...(restore ? [`${restore.message} (${restore.at.slice(0, 16)}Z)`] : []),
    `A backup every ${every}.`,
    ...targets.flatMap(targetLines),
  ].join('\n');
}

const moment = (at: string) => `${at.slice(0, 16).replace('T', ' ')}Z`;

function targetLines(one: TargetView): string[] {
  const { last_success: last, last_attempt: attempt, check, test } = one;
  return [
    '',
    `${one.name}  ${one.location}${one.late ? '  LATE' : ''}`,
    last
      ? `  last good backup  ${moment(last.at)}  ${last.snapshot}, ${last.files} files, ${bytes(last.bytes)}, ${bytes(last.added)} new, ${last.seconds} s`
      : '  last good backup  none yet',
    ...(attempt && attempt.state !== 'ok'
      ? [
          `  last attempt      ${moment(attempt.at)}  ${attempt.state}: ${attempt.message}`,
          `    → ${attempt.fix}`,
        ]
      : []),
    `  next              ${one.next_at === null ? 'not planned' : moment(one.next_at)}`,
    `  snapshots         ${one.snapshots.length}${one.size_bytes === null ? '' : `, ${bytes(one.size_bytes)} in all`}`,
    ...outcome('check', check, check && `part ${check.part} read back`),
    ...outcome(
      'restore test',
      test,
      test && `${test.files} files of ${test.snapshot} as they were`,
    ),
  ];
}

function outcome(
  what: string,
  result: { at: string; ok: boolean; message: string; fix: string } | null,
  well: string | null,
): string[] {
  const name = `  ${what.padEnd(18)}`;
  if (result === null) return [`${name}none yet`];
  return result.ok
    ? [`${name}${moment(result.at)}  ${well}`]
    : [`${name}${moment(result.at)}  FAILED: ${result.message}`, `    → ${result.fix}`];
}
