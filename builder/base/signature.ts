import { mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { BuildError, exitCode, isErrno } from '../errors.ts';
import { run } from '../exec.ts';
import { download } from './download.ts';

/** Who signed: the full fingerprint of the key, and the name in it. */
export type Signer = { fingerprint: string; name: string };

type Check = {
  file: string;
  /** Detached signature of the file, binary (.sig) or armoured (.asc). */
  signature: string;
  /** Public keys that may have signed, binary or armoured. */
  keyring: string;
  /** What to call the file in messages: its URL. */
  name?: string | undefined;
};

/**
 * Fetches the detached signature of a download and verifies it.
 * @throws BuildError with code `source` if there is none or it does not hold.
 */
export async function checkDownloadSignature(o: {
  file: string;
  url: string;
  /** As in the configuration: by default the signature is at the file's URL with `.sig`. */
  signature: { url: string | null; keyring: string };
  directory: string;
  signal?: AbortSignal | undefined;
}): Promise<Signer> {
  const url = o.signature.url ?? `${o.url}.sig`;
  const { path } = await download({ url, directory: o.directory, signal: o.signal }).catch(
    (error: unknown) => {
      if (!(error instanceof BuildError) || error.code !== exitCode.source) throw error;
      throw new BuildError({
        what: `The signature cannot be had: ${error.message}`,
        where: url,
        fix: 'Set raspios.signature.url to where the signature is, or raspios.signature to null to do without',
        code: exitCode.source,
        cause: error,
      });
    },
  );
  return await verifySignature({
    file: o.file,
    signature: path,
    keyring: o.signature.keyring,
    name: o.url,
  });
}

/**
 * Verifies a detached OpenPGP signature with gpgv(1), which trusts every key in the keyring and no
 * other. Keys that have expired or were revoked don't count.
 * @throws BuildError that says whether it is missing, by another key, or bad.
 */
export async function verifySignature(o: Check): Promise<Signer> {
  await mustBeThere(o.signature, 'signature');
  await mustBeThere(o.keyring, 'keyring');
  const home = await mkdtemp(join(tmpdir(), 'pi-gateway-gpg-'));
  try {
    const { stdout, exitCode: code } = await run(
      'gpgv',
      [
        '--homedir',
        home,
        '--keyring',
        await binaryKeyring(o.keyring, home),
        '--status-fd',
        '1',
        resolve(o.signature),
        resolve(o.file),
      ],
      { okCodes: [1, 2] },
    );
    return judge(stdout, code, o);
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

async function mustBeThere(path: string, what: 'signature' | 'keyring'): Promise<void> {
  const found = await stat(path).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return undefined;
    throw error;
  });
  if (found && found.size > 0) return;
  throw new BuildError({
    what: found ? `The ${what} is an empty file` : `The ${what} is missing`,
    where: path,
    fix:
      what === 'keyring'
        ? 'Set raspios.signature.keyring to a file with the public keys of who signs the image'
        : 'Get the detached signature (.sig or .asc) that belongs to the image',
    code: what === 'keyring' ? exitCode.usage : exitCode.source,
  });
}

/** gpgv reads binary keyrings only. */
async function binaryKeyring(path: string, home: string): Promise<string> {
  const file = await open(path, 'r');
  const start = Buffer.alloc(64);
  await file.read(start, 0, start.length, 0);
  await file.close();
  if (!start.toString('latin1').trimStart().startsWith('-----BEGIN PGP')) return resolve(path);
  const binary = join(home, 'keyring.gpg');
  await run('gpg', ['--homedir', home, '--batch', '--output', binary, '--dearmor', resolve(path)], {
    fix: 'Check that the keyring holds public keys, as gpg --export --armor writes them',
  });
  return binary;
}

/** Reads gpgv's status lines (GnuPG's doc/DETAILS). */
function judge(status: string, code: number, o: Check): Signer {
  const lines = new Map<string, string[]>();
  for (const line of status.split('\n')) {
    const [tag, keyword, ...words] = line.split(' ');
    if (tag === '[GNUPG:]' && keyword) lines.set(keyword, words);
  }
  const fingerprint = lines.get('VALIDSIG')?.[0];
  const good = lines.get('GOODSIG');
  const refused = [...refusals].find(([keyword]) => lines.has(keyword));
  if (code === 0 && fingerprint && good && !refused)
    return { fingerprint, name: good.slice(1).join(' ') };
  const words = refused ? (lines.get(refused[0]) ?? []) : [];
  const [what, fix] = refused?.[1](words.join(' '), words[0] ?? '') ?? [
    'The signature could not be checked',
    'Check that it is a detached OpenPGP signature',
  ];
  throw new BuildError({
    what,
    where: `${o.name ?? o.file} (signature ${o.signature}, keyring ${o.keyring})`,
    fix,
    detail: status.trim(),
    code: exitCode.source,
  });
}

type Refusal = (words: string, key: string) => readonly [what: string, fix: string];

const newKeyring = 'Get the current keyring of who signs the image from them, and check it';

/** What each status keyword means for us; the first that is there is told. */
const refusals = new Map<string, Refusal>([
  [
    'BADSIG',
    (words) => [
      `BAD signature: the file is not what ${words.split(' ').slice(1).join(' ')} signed`,
      'Do not use this file. Delete it and get it again from the vendor',
    ],
  ],
  ['REVKEYSIG', (words) => [`The key that signed was revoked: ${words}`, newKeyring]],
  ['EXPKEYSIG', (words) => [`The key that signed has expired: ${words}`, newKeyring]],
  ['EXPSIG', (words) => [`The signature has expired: ${words}`, 'Get a newer image']],
  [
    'NO_PUBKEY',
    (_, key) => [
      `Signed by a key that is not in the keyring: ${key}`,
      `If that key is the vendor's, add it to the keyring; else do not use this file`,
    ],
  ],
  [
    'NODATA',
    () => [
      'What should be the signature is none',
      'Check the URL of the signature: perhaps it gives a web page',
    ],
  ],
]);
