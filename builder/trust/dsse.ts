import { sign, verify } from 'node:crypto';
import { keyName, type PublicKey, SignatureError, type Signer } from './minisign.ts';

/** https://github.com/secure-systems-lab/dsse/blob/master/envelope.md */
export type Envelope = {
  payloadType: string;
  payload: string;
  signatures: { keyid: string; sig: string }[];
};

/** The type that in-toto statements have in an envelope. */
export const inTotoType = 'application/vnd.in-toto+json';

/** DSSE v1: what is signed, so that type and payload cannot be told otherwise. */
function preAuthentication(type: string, payload: Uint8Array): Buffer {
  return Buffer.concat([
    Buffer.from(`DSSEv1 ${Buffer.byteLength(type)} ${type} ${payload.length} `),
    payload,
  ]);
}

/** Puts a statement in an envelope, signed by Ed25519; as text of the one form that is verified. */
export function sealEnvelope(payload: Uint8Array, { id, privateKey }: Signer): string {
  const envelope: Envelope = {
    payloadType: inTotoType,
    payload: Buffer.from(payload).toString('base64'),
    signatures: [
      {
        keyid: keyName(id),
        sig: sign(null, preAuthentication(inTotoType, payload), privateKey).toString('base64'),
      },
    ],
  };
  return `${JSON.stringify(envelope, null, 2)}\n`;
}

/** @returns the statement. @throws SignatureError unless the key has signed it. */
export function openEnvelope(text: string, key: PublicKey): Buffer {
  let envelope: Envelope;
  try {
    envelope = JSON.parse(text) as Envelope;
  } catch {
    throw new SignatureError('This is no envelope');
  }
  const payload = Buffer.from(String(envelope.payload), 'base64');
  const own = envelope.signatures?.find((one) => one.keyid === keyName(key.id));
  if (
    envelope.payloadType !== inTotoType ||
    own === undefined ||
    !verify(
      null,
      preAuthentication(inTotoType, payload),
      key.key,
      Buffer.from(String(own.sig), 'base64'),
    )
  )
    throw new SignatureError('The envelope is not signed by this key');
  return payload;
}
