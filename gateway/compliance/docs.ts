import { benchmark, chapters, controls } from './controls/all.ts';
import { tailoring } from './tailoring.ts';

const cell = (text: string) => text.replaceAll('|', '\\|').replaceAll('\n', ' ');

/** docs/compliance.md, from the controls themselves. */
export function complianceDocs(): string {
  const level1 = controls.filter((control) => control.level === 1).length;
  const entries = Object.entries(tailoring);
  return `${[
    '# Compliance',
    '',
    '<!-- Made by `node ci/docs.ts` from gateway/compliance: change it there. -->',
    '',
    '```sh',
    'sudo pi-gateway compliance                    # this machine, what fails first',
    'sudo pi-gateway compliance --failed           # only what fails, with what was seen and how to mend it',
    'sudo pi-gateway compliance --control 5.1.12   # one control',
    'sudo pi-gateway compliance --json --min-score 95',
    'npx pi-gateway-image compliance               # the image before it is flashed',
    '```',
    '',
    `Edition: ${benchmark}. ${controls.length} controls: ${level1} of level 1, ${controls.length - level1} of level 2. The numbers are the benchmark's, the words are ours; the benchmark itself is at cisecurity.org.`,
    '',
    'Every control is judged by the state of the machine (kernel, running services, files), not by the configuration that the image was built from. What cannot be read fails. Of an image that is not running, controls that need a running system are not applicable.',
    '',
    'Score: what passes, of what passes or fails. Tailored and not applicable controls do not count, and are shown.',
    '',
    '## Tailoring',
    '',
    `${entries.filter(([, one]) => one.instead === undefined).length} controls are wrong for a gateway and left out; ${entries.filter(([, one]) => one.instead !== undefined).length} check something else in their place, and count.`,
    '',
    '| control | reason | checked instead |',
    '|---|---|---|',
    ...entries.map(
      ([id, one]) =>
        `| ${id} ${cell(controls.find((control) => control.id === id)?.title ?? '')} | ${cell(one.reason)} | ${cell(one.instead ?? '')} |`,
    ),
    ...chapters.flatMap((chapter) => [
      '',
      `## ${chapter.number} ${chapter.title}`,
      '',
      '| id | level | title | what is checked |',
      '|---|---|---|---|',
      ...chapter.controls.map(
        (control) =>
          `| ${control.id} | ${control.level} | ${cell(control.title)}${control.id in tailoring ? ' (tailored)' : ''} | ${cell(control.checks)} |`,
      ),
    ]),
  ].join('\n')}\n`;
}
