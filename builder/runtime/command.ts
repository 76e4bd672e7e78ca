import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { version } from '../../gateway/version.ts';
import { BuildError, exitCode } from '../errors.ts';
import { loadSigner } from '../trust/keys.ts';
import { packRuntime, releaseFiles, runtimeFiles } from './bundle.ts';

export type RuntimeBundleFlags = {
  signKey: string;
  passphraseFile?: string;
  passphraseEnv?: string;
  serial: string;
  days: string;
  minimum?: string;
  output: string;
};

export type MadeRuntime = { version: string; serial: number; expires: string; files: string[] };

/** The command: packs the runtime of these sources, and signs a list that names it. @throws BuildError */
export async function makeRuntimeBundle(root: string, o: RuntimeBundleFlags): Promise<MadeRuntime> {
  const serial = number(o.serial, '--serial');
  const days = number(o.days, '--days');
  const facts = { version, minimum: o.minimum ?? '0.1.0' };
  if (!/^\d+\.\d+\.\d+$/.test(facts.minimum))
    throw wrong(`--minimum ${facts.minimum}`, 'Give a version, e.g. 0.1.0');
  const passphrase =
    o.passphraseFile !== undefined
      ? { file: o.passphraseFile }
      : o.passphraseEnv !== undefined
        ? { variable: o.passphraseEnv }
        : undefined;
  const signer = await loadSigner({ file: o.signKey }, passphrase);
  const now = new Date();
  const expiresAt = new Date(now.getTime() + days * 86_400_000);
  const bundle = await packRuntime(await runtimeFiles(root), facts);
  const files = releaseFiles(bundle, facts, { serial, issuedAt: now, expiresAt }, signer);
  await mkdir(o.output, { recursive: true });
  for (const [name, content] of files) await writeFile(join(o.output, name), content);
  return { version, serial, expires: expiresAt.toISOString(), files: [...files.keys()] };
}

function number(text: string, name: string): number {
  const value = Number(text);
  if (Number.isSafeInteger(value) && value > 0) return value;
  throw wrong(`${name} ${text}`, 'Give a whole number above 0');
}

const wrong = (what: string, fix: string) =>
  new BuildError({ what: `'${what}' makes no sense`, fix, code: exitCode.usage });

export const runtimeBundleText = (made: MadeRuntime): string =>
  `Runtime ${made.version}, list number ${made.serial}, good until ${made.expires}:\n${made.files.map((one) => `  ${one}`).join('\n')}`;
