import { BuildError, exitCode } from '../errors.ts';
import { loadPublicKey, loadSigner, type SecretPlace, writeKeyPair } from './keys.ts';
import { type FolderVerdict, signFolder, verifyFolder } from './release-folder.ts';

export type PassphraseFlags = { passphraseFile?: string; passphraseEnv?: string };
export type SignFlags = PassphraseFlags & { key?: string; keyEnv?: string };

/** One of a file and the name of a variable. @throws BuildError with code `usage` if both are given. */
function placeOf(
  file: string | undefined,
  variable: string | undefined,
  option: string,
): SecretPlace | undefined {
  if (file !== undefined && variable !== undefined)
    throw new BuildError({
      what: 'A file and an environment variable are named for the same secret',
      where: `options of ${option}`,
      fix: 'Give one of them',
      code: exitCode.usage,
    });
  if (file !== undefined) return { file };
  return variable === undefined ? undefined : { variable };
}

const passphraseOf = (o: PassphraseFlags) =>
  placeOf(o.passphraseFile, o.passphraseEnv, '--passphrase-file');

export async function runKeysNew(name: string, o: PassphraseFlags) {
  return await writeKeyPair(name, passphraseOf(o));
}

export async function runSign(directory: string, o: SignFlags) {
  const place = placeOf(o.key, o.keyEnv, '--key');
  if (!place)
    throw new BuildError({
      what: 'There is no key to sign with',
      where: 'sign',
      fix: 'Give --key FILE or --key-env NAME; keys new makes one',
      code: exitCode.usage,
    });
  const signer = await loadSigner(place, passphraseOf(o));
  return await signFolder(directory, signer, { date: new Date() });
}

/** Exit code 4 if the folder is not as it was signed. */
export async function runVerify(directory: string, key: string): Promise<FolderVerdict> {
  const verdict = await verifyFolder(directory, await loadPublicKey(key));
  if (!verdict.ok) process.exitCode = exitCode.source;
  return verdict;
}
