import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { serveImage } from '../../builder/base/fixture.ts';
import { indexDigest, treeDigest } from './inputs.ts';

const scratch = await mkdtemp(join(tmpdir(), 'pi-gateway-inputs-'));
afterAll(() => rm(scratch, { recursive: true }));

test('sources are their files, contents and modes; tests and guides are none', async () => {
  await mkdir(join(scratch, 'stages/a'), { recursive: true });
  const file = join(scratch, 'stages/a/stage.ts');
  await writeFile(file, 'one');
  const seen = [await treeDigest(scratch)];
  for (const name of ['a.test.ts', 'README.md'])
    await writeFile(join(scratch, 'stages', name), 'x');
  expect(await treeDigest(scratch)).toBe(seen[0]);
  await writeFile(file, 'two');
  seen.push(await treeDigest(scratch));
  await chmod(file, 0o755);
  seen.push(await treeDigest(scratch));
  await writeFile(join(scratch, 'stages/b.ts'), 'two');
  seen.push(await treeDigest(scratch));
  expect(new Set(seen).size).toBe(4);
});

/** A release file of the archive, as far as it is read. */
const releaseFile = (date: string, digit: string) => `Date: ${date}
SHA256:
 ${digit.repeat(64)} 100 main/binary-arm64/Packages
 ${'f'.repeat(64)} 100 main/binary-riscv64/Packages
 ${'e'.repeat(64)} 10 main/i18n/Translation-en
`;

test('the archive is as it was while its indexes are, whatever its date', async () => {
  const at = async (text: string) => {
    const server = await serveImage(Buffer.from(text), [{}], { path: '/dists/trixie/InRelease' });
    const line = `deb ${server.url.replace('/dists/trixie/InRelease', '')} trixie main`;
    const digest = await indexDigest([line], { components: ['main'] });
    await server.close();
    return { digest, line };
  };
  const monday = await at(releaseFile('Monday', '1'));
  expect(monday.digest).toMatch(/^[0-9a-f]{64}$/);
  expect((await at(releaseFile('Tuesday', '1'))).digest).toBe(monday.digest);
  expect((await at(releaseFile('Tuesday', '2'))).digest).not.toBe(monday.digest);
  // What cannot be asked does not count as the same.
  expect(await indexDigest([monday.line], { components: ['main'] })).toBeNull();
  expect((await at('an error page')).digest).toBeNull();
});
