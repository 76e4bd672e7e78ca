import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../builder/exec.ts';

/** How exposed a unit is, 0 to 10: systemd-analyze(1), `security`, without starting it. */
export async function exposure(name: string, text: string): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-unit-'));
  try {
    const file = join(folder, name);
    await writeFile(file, text);
    const { stdout } = await run(
      'systemd-analyze',
      ['security', '--offline=true', '--no-pager', file],
      { okCodes: [1] },
    );
    const score = /exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1];
    if (score === undefined) throw new Error(`systemd-analyze does not understand ${name}`);
    return Number(score);
  } finally {
    await rm(folder, { recursive: true });
  }
}
