import { decodeText } from './owner-file.ts';
import { OwnerError } from './step.ts';

/** The age identity that the image was built with, for settings that only its devices can read. */
export const identityFile = '/etc/pi-gateway/settings-identity.txt';

/** First line of an age file: age-encryption.org/v1, "Header"; that of an armored one: "ASCII armor". */
const magic = 'age-encryption.org/v1\n';
const armored = '-----BEGIN AGE ENCRYPTED FILE-----';

/**
 * The settings in an age file, binary or armored.
 * @param identities What age-keygen(1) writes: a secret key on each line, comments after #.
 * @throws OwnerError if the file is none of age's, is damaged, or is for another identity.
 */
export async function decryptSettings(
  bytes: Uint8Array,
  identities: string,
  name: string,
): Promise<string> {
  // Loaded only here: few devices need it, and it takes a Pi a second.
  const { armor, Decrypter } = await import('age-encryption');
  const decrypter = new Decrypter();
  for (const line of identities.split(/\r?\n/).map((text) => text.trim())) {
    if (line === '' || line.startsWith('#')) continue;
    try {
      decrypter.addIdentity(line);
    } catch {
      throw new OwnerError(
        `${identityFile} holds a line that is no age identity`,
        'Build the image anew with what age-keygen writes, or use gateway-device.yaml without encryption',
      );
    }
  }
  const file = binary(bytes, name, armor.decode);
  let plain: Uint8Array;
  try {
    plain = await decrypter.decrypt(file);
  } catch (error) {
    if (error instanceof Error && error.message.includes('no identity matched'))
      throw new OwnerError(
        `${name} is encrypted for another recipient than this image's identity`,
        'Encrypt it for the public key (age1…) of the identity that the image was built with',
      );
    throw damaged(name);
  }
  return decodeText(plain, name);
}

function binary(bytes: Uint8Array, name: string, decode: (text: string) => Uint8Array): Uint8Array {
  const text = Buffer.from(bytes).toString('latin1');
  if (text.startsWith(magic)) return bytes;
  if (!text.trimStart().startsWith(armored))
    throw new OwnerError(
      `${name} is not an age file`,
      'Encrypt it: age --armor -r age1… -o gateway-device.yaml.age gateway-device.yaml',
    );
  try {
    return decode(text);
  } catch {
    throw damaged(name);
  }
}

function damaged(name: string): OwnerError {
  return new OwnerError(`${name} is damaged`, 'Encrypt it anew and copy it as a whole');
}
