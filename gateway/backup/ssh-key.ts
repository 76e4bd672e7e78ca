import { createPrivateKey, createPublicKey, randomBytes } from 'node:crypto';
import { at, makeFolder, readIfThere, type System, writeDurably } from '../../firstboot/system.ts';

/**
 * The key that this gateway's backups log in with at SFTP servers: ed25519, kept as its 32 bytes of seed
 * (RFC 8032 §5.1.5), which is short enough for a recovery sheet on paper.
 */
export const seedPath = '/etc/pi-gateway/backup/sftp-seed';

/** base64url of 32 bytes. */
export const seedForm = /^[A-Za-z0-9_-]{43}$/;

/** The seed; made when it is asked for first. */
export async function sshSeed(system: System): Promise<string> {
  const there = (await readIfThere(at(system, seedPath)))?.trim() ?? '';
  if (seedForm.test(there)) return there;
  const seed = randomBytes(32).toString('base64url');
  await makeFolder(at(system, '/etc/pi-gateway/backup'), 0o700);
  await writeDurably(at(system, seedPath), `${seed}\n`, 0o600);
  return seed;
}

/** DER before the seed of an Ed25519 private key in PKCS #8: RFC 8410 §7. */
const privatePrefix = Buffer.from('302e020100300506032b657004220420', 'hex');

function publicBytes(seed: string): Buffer {
  const der = Buffer.concat([privatePrefix, Buffer.from(seed, 'base64url')]);
  const key = createPublicKey(createPrivateKey({ key: der, format: 'der', type: 'pkcs8' }));
  return key.export({ format: 'der', type: 'spki' }).subarray(-32);
}

/** `string` of RFC 4251 §5. */
function field(content: string | Buffer): Buffer {
  const bytes = Buffer.from(content as string);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

const type = 'ssh-ed25519';

/** RFC 8709 §4. */
const publicBlob = (seed: string) => Buffer.concat([field(type), field(publicBytes(seed))]);

/** The line for authorized_keys on the server. */
export function sshPublicLine(seed: string, comment = 'pi-gateway-backup'): string {
  return `${type} ${publicBlob(seed).toString('base64')} ${comment}`;
}

/** The private key as ssh(1) reads it: PROTOCOL.key of OpenSSH, unencrypted. */
export function sshPrivateKey(seed: string): string {
  const check = Buffer.from('pgbk');
  const own = publicBytes(seed);
  const secret = Buffer.concat([
    ...[check, check, field(type), field(own)],
    ...[field(Buffer.concat([Buffer.from(seed, 'base64url'), own])), field('pi-gateway-backup')],
  ]);
  const missing = (8 - (secret.length % 8)) % 8;
  const padding = Buffer.from(Array.from({ length: missing }, (_, index) => index + 1));
  const count = Buffer.from([0, 0, 0, 1]);
  const whole = Buffer.concat([
    ...[Buffer.from('openssh-key-v1\0'), field('none'), field('none'), field(''), count],
    ...[field(publicBlob(seed)), field(Buffer.concat([secret, padding]))],
  ]);
  const lines = whole.toString('base64').match(/.{1,70}/g) ?? [];
  return [
    '-----BEGIN OPENSSH PRIVATE KEY-----',
    ...lines,
    '-----END OPENSSH PRIVATE KEY-----',
    '',
  ].join('\n');
}
