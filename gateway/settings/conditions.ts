import type { Condition } from '../alerts/condition.ts';
import { problemText, settingsFile } from './read.ts';
import type { SettingsProblem } from './view.ts';

/** Settings that somebody has edited by hand, and that cannot be used. */
export function settingsCondition(problems: readonly SettingsProblem[]): Condition {
  const [first] = problems;
  return {
    source: 'settings:file',
    active: first !== undefined,
    severity: 'warning',
    text: first
      ? `${settingsFile} has ${problems.length} mistakes and is not used: ${problemText([first])}. Mend them: sudo pi-gateway config edit`
      : '',
    needs: [],
  };
}
