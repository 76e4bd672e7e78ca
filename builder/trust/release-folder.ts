import { readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileDigest } from '../artifact/compress.ts';
import { BuildError, exitCode, isErrno, messageOf } from '../errors.ts';
import { byName } from '../inspect/file-system.ts';
import { replaceFile } from '../state.ts';
import { openEnvelope, sealEnvelope } from './dsse.ts';
import { keyName, type PublicKey, type Signer, signFile, verifyFile } from './minisign.ts';

/**
 * A release is a folder of files with their checksums in SHA256SUMS, which SHA256SUMS.minisig signs: so the
 * signature vouches for every byte of each, and anybody can verify it with minisign and sha256sum.
 */

export const sumsName = 'SHA256SUMS';
export const signatureName = `${sumsName}.minisig`;
/** The provenance that a build writes, and the envelope that it is signed in. */
export const provenanceSuffix = '.provenance.json';
export const envelopeSuffix = '.provenance.dsse.json';

/** The only comment that a signature of a release has: minisign does not sign this line. */
const untrusted = 'untrusted comment: signature from minisign secret key';

export type FolderVerdict = {
  ok: boolean;
  /** What the signer has said in the signed comment. */
  comment: string | undefined;
  /** Files whose bytes are those that were signed. */
  files: string[];
  problems: string[];
};

/** `sha256  name` lines. @throws Error if a line is of another form, or names a file elsewhere or twice. */
export function parseSums(text: string): Map<string, string> {
  const sums = new Map<string, string>();
  if (!text.endsWith('\n')) throw new Error(`${sumsName} is cut off`);
  for (const line of text.slice(0, -1).split('\n')) {
    const [, sha256, file] = /^([0-9a-f]{64}) {2}([^/\\\p{Cc}]+)$/u.exec(line) ?? [];
    if (!sha256 || !file || file === '..' || file === '.' || sums.has(file))
      throw new Error(`${sumsName} has a line that is no checksum: ${JSON.stringify(line)}`);
    sums.set(file, sha256);
  }
  return sums;
}

export function formatSums(files: Iterable<readonly [string, string]>): string {
  return [...files].map(([file, sha256]) => `${sha256}  ${file}\n`).join('');
}

/** Compares the folder with its checksums: files that differ, are missing, or are not listed. */
async function compareFiles(
  directory: string,
  sums: ReadonlyMap<string, string>,
  o: { rawBesideRelease: boolean },
): Promise<{ good: string[]; problems: string[] }> {
  const good: string[] = [];
  const problems: string[] = [];
  for (const [file, expected] of sums) {
    try {
      const { sha256 } = await fileDigest(join(directory, file));
      if (sha256 === expected) good.push(file);
      else problems.push(`${file} is not the file that was released: its checksum is another`);
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) {
        problems.push(`${file} cannot be read: ${messageOf(error)}`);
        continue;
      }
      // Who downloads a release takes the compressed image alone.
      const packed = ['.xz', '.zst'].some((suffix) => sums.has(`${file}${suffix}`));
      if (!(o.rawBesideRelease && packed)) problems.push(`${file} is missing`);
    }
  }
  // The builder's own notes beside the image; no release has them.
  for (const name of (await readdir(directory)).sort(byName))
    if (!sums.has(name) && name !== sumsName && name !== signatureName && name !== '.image.json')
      problems.push(`${name} is no part of the release`);
  return { good, problems };
}

async function readSums(directory: string): Promise<Map<string, string>> {
  try {
    return parseSums(await readFile(join(directory, sumsName), 'utf8'));
  } catch (cause) {
    throw new BuildError({
      what: isErrno(cause, 'ENOENT')
        ? `There is no ${sumsName} in the folder`
        : `The checksums cannot be read: ${messageOf(cause)}`,
      where: join(directory, sumsName),
      fix: 'Give the folder of a finished build, e.g. output/pi-gateway',
      code: exitCode.source,
      cause,
    });
  }
}

/**
 * Signs a release: its checksums, and its provenance in an envelope of its own.
 * @throws BuildError with code `source` if a file is not what the checksums say: that is never signed.
 */
export async function signFolder(
  directory: string,
  signer: Signer,
  o: { date: Date },
): Promise<{ key: string; files: string[] }> {
  const sums = await readSums(directory);
  // An earlier signature's envelope is replaced.
  for (const name of [...sums.keys()])
    if (name.endsWith(envelopeSuffix)) {
      sums.delete(name);
      await rm(join(directory, name), { force: true });
    }
  await rm(join(directory, signatureName), { force: true });
  const { problems } = await compareFiles(directory, sums, { rawBesideRelease: false });
  if (problems.length > 0)
    throw new BuildError({
      what: 'This folder is not as its checksums say, so it is not signed',
      where: directory,
      detail: problems.join('\n'),
      fix: 'Build it again, and put nothing else into the folder',
      code: exitCode.source,
    });
  for (const name of [...sums.keys()].filter((one) => one.endsWith(provenanceSuffix))) {
    const envelope = `${name.slice(0, -provenanceSuffix.length)}${envelopeSuffix}`;
    await replaceFile(
      join(directory, envelope),
      sealEnvelope(await readFile(join(directory, name)), signer),
    );
    sums.set(envelope, (await fileDigest(join(directory, envelope))).sha256);
  }
  const text = formatSums(sums);
  await replaceFile(join(directory, sumsName), text);
  const comment = `file:${sumsName}\tdate:${o.date.toISOString().replace(/\.\d+Z$/, 'Z')}\thashed`;
  await replaceFile(join(directory, signatureName), signFile(Buffer.from(text), signer, comment));
  return { key: keyName(signer.id), files: [...sums.keys()] };
}

/** minisign ignores some bytes of a signature's file; here each is held to the form that it writes. */
function requireCanonical(signature: string): void {
  const lines = signature.split('\n');
  if (lines[0] !== untrusted || lines.length !== 5 || lines[4] !== '' || /\r/.test(signature))
    throw new Error('its lines are not those that signing writes');
}

/** Verifies a release to the last byte, and that nothing is missing and nothing was added. */
export async function verifyFolder(directory: string, key: PublicKey): Promise<FolderVerdict> {
  const problems: string[] = [];
  let comment: string | undefined;
  let files: string[] = [];
  let sums: Map<string, string> | undefined;
  try {
    const text = await readFile(join(directory, sumsName));
    // latin1 keeps each byte as it is; a replaced character could hide one.
    const signature = await readFile(join(directory, signatureName), 'latin1');
    requireCanonical(signature);
    comment = verifyFile(text, signature, [key]);
    if (!comment.startsWith(`file:${sumsName}\t`))
      throw new Error(`the signed comment is of another file: ${comment}`);
    sums = parseSums(text.toString('utf8'));
  } catch (error) {
    problems.push(`${signatureName}: ${messageOf(error)}`);
  }
  if (sums) {
    const found = await compareFiles(directory, sums, { rawBesideRelease: true });
    files = found.good;
    problems.push(...found.problems);
    problems.push(...(await provenanceProblems(directory, sums, new Set(files), key)));
  }
  return { ok: problems.length === 0, comment, files, problems };
}

type Subjects = { subject?: { name: string; digest: { sha256: string } }[] };

/** The envelope must be of the same key and provenance, and the provenance of the files that lie here. */
async function provenanceProblems(
  directory: string,
  sums: ReadonlyMap<string, string>,
  good: ReadonlySet<string>,
  key: PublicKey,
): Promise<string[]> {
  const problems: string[] = [];
  for (const name of [...good].filter((one) => one.endsWith(provenanceSuffix))) {
    const payload = await readFile(join(directory, name));
    const envelope = `${name.slice(0, -provenanceSuffix.length)}${envelopeSuffix}`;
    if (!good.has(envelope)) problems.push(`${envelope} is missing: the provenance is not signed`);
    else
      try {
        const signed = openEnvelope(await readFile(join(directory, envelope), 'utf8'), key);
        if (!signed.equals(payload)) problems.push(`${envelope} is of another provenance`);
      } catch (error) {
        problems.push(`${envelope}: ${messageOf(error)}`);
      }
    const { subject = [] } = JSON.parse(payload.toString('utf8')) as Subjects;
    for (const one of subject)
      if (one.name.match(/\.img(\.xz|\.zst)?$/) && sums.has(one.name))
        if (sums.get(one.name) !== one.digest.sha256)
          problems.push(`${name} tells of another ${one.name}`);
  }
  return problems;
}

export function verdictText(directory: string, verdict: FolderVerdict): string {
  return verdict.ok
    ? [
        `Verified: ${verdict.files.length} files of ${directory} are those that were signed.`,
        `  ${(verdict.comment ?? '').replaceAll('\t', '  ')}`,
      ].join('\n')
    : [
        `NOT verified: ${directory} is not as it was signed.`,
        ...verdict.problems.map((problem) => `  ${problem}`),
      ].join('\n');
}
