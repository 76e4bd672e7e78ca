import {
  createPrivateKey,
  createPublicKey,
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  scrypt as scryptCallback,
} from 'node:crypto';
import { open, readFile } from 'node:fs/promises';
import { promisify } from 'node:util';
import { blake2b } from '@noble/hashes/blake2.js';
import { BuildError, exitCode, messageOf } from '../errors.ts';
import {
  formatPublicKey,
  keyName,
  type PublicKey,
  parsePublicKey,
  SignatureError,
  type Signer,
} from './minisign.ts';

/**
 * Secret keys in minisign's file format (struct SeckeyStruct of its minisign.h): "Ed", the kind of key
 * derivation, "B2", salt, two limits of libsodium's scrypt, then number, key and BLAKE2b-256 of both, which are
 * XORed with what scrypt makes of the passphrase.
 */

const scrypt = promisify<string, Buffer, number, object, Buffer>(scryptCallback);

const length = 158;
const sealedAt = 54;
const noKdf = '\0\0';
/** libsodium's crypto_pwhash_scryptsalsa208sha256_*LIMIT_SENSITIVE, which minisign takes: 1 GiB of memory. */
const sensitive = { operations: 33_554_432n, memory: 1_073_741_824n };
/** RFC 8410: what stands before the 32 bytes of a private key in DER. */
const pkcs8 = Buffer.from('302e020100300506032b657004220420', 'hex');

/** How libsodium's pickparams() makes scrypt's parameters (RFC 7914) of its two limits. */
function scryptParameters(operations: bigint, memory: bigint) {
  const r = 8n;
  const log2 = (limit: bigint) => {
    let n = 1n;
    while (n < 63n && 1n << n <= limit / 2n) n++;
    return n;
  };
  if (operations < 32_768n) operations = 32_768n;
  if (operations < memory / 32n) return { N: 1n << log2(operations / (r * 4n)), r, p: 1n };
  const n = log2(memory / (r * 128n));
  let rp = operations / 4n / (1n << n);
  if (rp > 0x3fffffffn) rp = 0x3fffffffn;
  return { N: 1n << n, r, p: rp / r };
}

async function keyStream(passphrase: string, salt: Buffer, operations: bigint, memory: bigint) {
  if (memory > sensitive.memory || operations > sensitive.operations)
    throw new SignatureError('The secret key asks for more memory than minisign itself does');
  const { N, r, p } = scryptParameters(operations, memory);
  return await scrypt(passphrase, salt, length - sealedAt, {
    N: Number(N),
    r: Number(r),
    p: Number(p),
    maxmem: Number(sensitive.memory) + 64 * 1024 * 1024,
  });
}

const xor = (a: Uint8Array, b: Uint8Array) => Buffer.from(a.map((byte, i) => byte ^ (b[i] ?? 0)));

const checksum = (idAndKey: Uint8Array) =>
  blake2b(Buffer.concat([Buffer.from('Ed'), idAndKey]), { dkLen: 32 });

const publicHalf = (privateKey: KeyObject) =>
  createPublicKey(privateKey).export({ format: 'der', type: 'spki' }).subarray(-32);

/** Makes a key pair as `minisign -G` does; an empty passphrase makes a key that needs none, as `-W` does. */
export async function generateKey(
  passphrase: string,
): Promise<{ secret: string; publicKey: string; name: string }> {
  const { privateKey } = generateKeyPairSync('ed25519');
  const id = randomBytes(8);
  const seed = privateKey.export({ format: 'der', type: 'pkcs8' }).subarray(pkcs8.length);
  const body = Buffer.concat([id, seed, publicHalf(privateKey)]);
  const plain = Buffer.concat([body, checksum(body)]);
  const salt = passphrase === '' ? Buffer.alloc(32) : randomBytes(32);
  const limits = Buffer.alloc(16);
  if (passphrase !== '') {
    limits.writeBigUInt64LE(sensitive.operations, 0);
    limits.writeBigUInt64LE(sensitive.memory, 8);
  }
  const sealed =
    passphrase === ''
      ? plain
      : xor(plain, await keyStream(passphrase, salt, sensitive.operations, sensitive.memory));
  const head = Buffer.from(`Ed${passphrase === '' ? noKdf : 'Sc'}B2`, 'latin1');
  const secret = Buffer.concat([head, salt, limits, sealed]).toString('base64');
  return {
    secret: `untrusted comment: minisign ${passphrase === '' ? '' : 'encrypted '}secret key\n${secret}\n`,
    publicKey: formatPublicKey({ id, privateKey }),
    name: keyName(id),
  };
}

/**
 * Reads a secret key of minisign.
 * @throws SignatureError if it is none, or the passphrase is missing or wrong.
 */
export async function parseSecretKey(
  text: string,
  passphrase: string | undefined,
): Promise<Signer> {
  const lines = text.trim().split(/\r?\n/);
  const bytes = Buffer.from(lines.at(-1)?.trim() ?? '', 'base64');
  const head = bytes.subarray(0, 6).toString('latin1');
  const encrypted = head === 'EdScB2';
  if (bytes.length !== length || lines.length > 2 || (!encrypted && head !== `Ed${noKdf}B2`))
    throw new SignatureError('This is no secret key of minisign');
  if (encrypted && passphrase === undefined)
    throw new SignatureError('The secret key has a passphrase, and none was given');
  const sealed = bytes.subarray(sealedAt);
  const plain = encrypted
    ? xor(
        sealed,
        await keyStream(
          passphrase ?? '',
          bytes.subarray(6, 38),
          bytes.readBigUInt64LE(38),
          bytes.readBigUInt64LE(46),
        ),
      )
    : sealed;
  const privateKey = createPrivateKey({
    key: Buffer.concat([pkcs8, plain.subarray(8, 40)]),
    format: 'der',
    type: 'pkcs8',
  });
  // minisign 0.11 leaves the checksum of a key without passphrase empty; the public half tells the same.
  const sound = encrypted
    ? plain.subarray(72).equals(checksum(plain.subarray(0, 72)))
    : publicHalf(privateKey).equals(plain.subarray(40, 72));
  if (!sound)
    throw new SignatureError(
      encrypted ? 'The passphrase is not that of the key' : 'The secret key is damaged',
    );
  return { id: Buffer.from(plain.subarray(0, 8)), privateKey };
}

/** Where a secret is: in a file, or in the environment variable of this name. */
export type SecretPlace = { file: string } | { variable: string };

async function secretText(place: SecretPlace): Promise<string> {
  if ('file' in place) return await readFile(place.file, 'utf8');
  const text = process.env[place.variable];
  if (text === undefined || text === '') throw new Error('it is not set');
  return text;
}

const placeName = (place: SecretPlace) =>
  'file' in place ? place.file : `environment variable ${place.variable}`;

/**
 * Reads the key that signs. What it is never gets into a message, only where it should have been.
 * @throws BuildError with code `usage`.
 */
export async function loadSigner(place: SecretPlace, passphrase?: SecretPlace): Promise<Signer> {
  try {
    const words =
      passphrase === undefined ? undefined : (await secretText(passphrase)).replace(/\r?\n$/, '');
    return await parseSecretKey(await secretText(place), words);
  } catch (cause) {
    throw new BuildError({
      what: `The secret key cannot be used: ${messageOf(cause)}`,
      where: placeName(place),
      fix: 'Make a pair: pi-gateway-image keys new NAME; name the passphrase by --passphrase-file or --passphrase-env',
      code: exitCode.usage,
      cause,
    });
  }
}

/** Reads a public key's file. @throws BuildError with code `usage`. */
export async function loadPublicKey(file: string): Promise<PublicKey> {
  try {
    return parsePublicKey(await readFile(file, 'utf8'));
  } catch (cause) {
    throw new BuildError({
      what: `The public key cannot be used: ${messageOf(cause)}`,
      where: file,
      fix: "Give the file that the project's owner publishes: two lines, the second begins with RW",
      code: exitCode.usage,
      cause,
    });
  }
}

/** Writes `<name>.key` (for its owner alone) and `<name>.pub`; never over what is there. */
export async function writeKeyPair(
  name: string,
  passphrase: SecretPlace | undefined,
): Promise<{ secret: string; public: string; id: string; line: string }> {
  const words =
    passphrase === undefined ? '' : (await secretText(passphrase)).replace(/\r?\n$/, '');
  if (passphrase !== undefined && words === '')
    throw new BuildError({
      what: 'The passphrase is empty',
      where: placeName(passphrase),
      fix: 'Leave the option out for a key without one',
      code: exitCode.usage,
    });
  const pair = await generateKey(words);
  const files = { secret: `${name}.key`, public: `${name}.pub` };
  for (const [file, mode, text] of [
    [files.secret, 0o600, pair.secret],
    [files.public, 0o644, pair.publicKey],
  ] as const) {
    const handle = await open(file, 'wx', mode).catch((cause: unknown) => {
      throw new BuildError({
        what: `The key cannot be written: ${messageOf(cause)}`,
        where: file,
        fix: 'Give another name; keys are never replaced',
        code: exitCode.usage,
        cause,
      });
    });
    try {
      await handle.writeFile(text);
    } finally {
      await handle.close();
    }
  }
  return { ...files, id: pair.name, line: pair.publicKey.split('\n')[1] ?? '' };
}
