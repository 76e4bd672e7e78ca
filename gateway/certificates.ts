import { X509Certificate } from 'node:crypto';
import type * as z from 'zod';

/** For superRefine(): one or more certificates in PEM (RFC 7468), and no key. No message repeats the text. */
export function refuseUnlessCertificates(text: string, context: z.RefinementCtx): void {
  const message = problemOf(text);
  if (message !== undefined) context.addIssue({ code: 'custom', message });
}

const example = 'must be certificates in PEM form: -----BEGIN CERTIFICATE----- …';

function problemOf(text: string): string | undefined {
  if (/PRIVATE KEY/.test(text))
    return 'holds a PRIVATE key: give the certificate of the authority alone';
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g);
  if (!blocks) return example;
  try {
    for (const block of blocks) new X509Certificate(block);
    return undefined;
  } catch {
    return `is damaged; it ${example}`;
  }
}
