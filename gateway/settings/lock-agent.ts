import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { System } from '../../firstboot/system.ts';
import { withLock } from './lock.ts';

/** Takes the lock again and again until it is killed; says each time whether it was alone all the while. */
const [, , root = ''] = process.argv;
const system: System = { root, boot: '/boot', say: () => undefined, run: async () => '' };
const inside = join(root, 'inside');
for (let turn = 0; ; turn += 1) {
  const mine = `${process.pid} ${turn}`;
  await withLock(system, async () => {
    await writeFile(inside, mine);
    await new Promise((resolve) => setTimeout(resolve, 4));
    const alone = (await readFile(inside, 'utf8')) === mine;
    process.stdout.write(alone ? 'alone\n' : 'SHARED\n');
  });
}
