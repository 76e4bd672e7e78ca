import { stripVTControlCharacters } from 'node:util';

/**
 * Takes out of a text what looks like a secret, whoever wrote it: programs log what they are given. What is
 * taken without need (a public key, a digest) is no loss for who reads a log.
 */
export function withoutSecretsLike(text: string): string {
  return forms.reduce((so, [form, instead]) => so.replace(form, instead), text);
}

/** A word that names a secret, as in `password=…`, `"psk": "…"`, `Authorization: …`. */
const named =
  'pass(?:word|wd|phrase|code)?|psk|wpa_passphrase|secret|client_secret|token|(?:api|access|auth|private|preshared|secret|encryption)[ _-]?key|authorization|cookie|credentials?';

const forms: readonly (readonly [RegExp, string])[] = [
  // RFC 7468.
  [
    /-----BEGIN ([A-Z0-9 ]*PRIVATE KEY)-----[\s\S]*?(-----END \1-----|$)/g,
    '-----BEGIN $1----- ***',
  ],
  // age's secret key: bech32 (c2sp.org/age).
  [/AGE-SECRET-KEY-[A-Z0-9-]+/gi, '***'],
  // Curve25519 keys and preshared keys of WireGuard: 32 bytes of base64; public ones look the same.
  [/(?<![A-Za-z0-9+/=])[A-Za-z0-9+/]{43}=(?![A-Za-z0-9+/=])/g, '***'],
  // Pre-shared keys of Wi-Fi, as wpa_passphrase(8) writes them: 32 bytes of hex.
  [/(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])/gi, '***'],
  // The gateway's API tokens, and those of others that tell what they are.
  [/\b(pgw_|ghp_|gho_|github_pat_|glpat-|xox[abprs]-|sk-|sk_live_|tk_)[A-Za-z0-9_-]{8,}/g, '$1***'],
  // JSON Web Tokens: RFC 7519.
  [/\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g, '***'],
  // Claim and recovery codes: groups of Crockford's base32.
  [/\b[0-9A-HJKMNP-TV-Z]{4}(?:-[0-9A-HJKMNP-TV-Z]{4}){3}\b/g, '****-****-****-****'],
  // Digests of passwords: crypt(5), and the PHC string format.
  [/\$(?:[1567]|2[abxy]|y|gy|scrypt|argon2(?:id|i|d)|pbkdf2[\w-]*)\$[\w./+=,$-]{8,}/g, '***'],
  // Webhooks whose path is their secret.
  [/(https?:\/\/(?:hooks\.slack\.com|discord(?:app)?\.com\/api\/webhooks)\/)\S+/gi, '$1***'],
  // Of URLs the user with its password, and the query: RFC 3986.
  [/([a-z][a-z0-9+.-]*:\/\/)[^\s/?#@"']+@/gi, '$1***@'],
  [/([a-z][a-z0-9+.-]*:\/\/[^\s?#"']+)\?[^\s"']*/gi, '$1?***'],
  [/\b(bearer|basic|digest)\s+[A-Za-z0-9+/_=.~-]{8,}/gi, '$1 ***'],
  [
    new RegExp(
      `((?<![a-z])(?:[a-z0-9]+[_-])*(?:${named})["']?\\s*[:=]\\s*)("(?:[^"\\\\]|\\\\.)*"|'[^']*'|[^\\s,;&}]+)`,
      'gi',
    ),
    '$1***',
  ],
];

/** Text of a stranger for a terminal: without what would move the cursor, colour, or set its title. */
export function printable(text: string): string {
  return (
    stripVTControlCharacters(text)
      .replaceAll(/(?![\n\t])\p{Cc}/gu, '')
      // What turns the direction of text would show another text than there is: CVE-2021-42574.
      .replaceAll(/[\u202a-\u202e\u2066-\u2069]/gu, '')
  );
}
