/** Looks for secrets in the files that git knows: `node ci/secrets.ts`. Exit code 1 for any. */
import { readFile } from 'node:fs/promises';
import { extname, join, resolve } from 'node:path';
import { lintSource } from '@secretlint/core';
import { creator } from '@secretlint/secretlint-rule-preset-recommend';
import { output } from '../builder/exec.ts';

const root = resolve(import.meta.dirname, '..');

/** Made-up ones, as guides and tests have them: a workspace of zeros, accounts at example.org (RFC 2606). */
const examples = /hooks\.slack\.com\/services\/T0+\/B0+\/|:\/\/\w+:\w+@example\.org/g;

/** What looks like a secret in a text, one line each, without the secret. */
export async function secretsIn(path: string, content: string): Promise<string[]> {
  const id = '@secretlint/secretlint-rule-preset-recommend';
  const { messages } = await lintSource({
    source: {
      filePath: path,
      content: content.replace(examples, 'example'),
      ext: extname(path),
      contentType: 'text',
    },
    options: { config: { rules: [{ id, rule: creator, options: {} }] }, maskSecrets: true },
  });
  return messages.map(({ loc, message }) => `${path}:${loc.start.line}: ${message}`);
}

if (import.meta.main) {
  const names = (await output('git', ['-C', root, 'ls-files', '-z'])).split('\0').filter(Boolean);
  const found: string[] = [];
  for (const name of names) {
    const content = await readFile(join(root, name));
    if (!content.includes(0)) found.push(...(await secretsIn(name, content.toString())));
  }
  for (const line of found) process.stdout.write(`${line}\n`);
  process.stdout.write(`${names.length} files, ${found.length} secrets\n`);
  if (found.length > 0) process.exitCode = 1;
}
