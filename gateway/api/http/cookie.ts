/**
 * `__Host-`: a browser takes it only over TLS, for this host alone and for all paths (RFC 6265bis §4.1.3.2),
 * so no other name or port can plant one.
 */
export const sessionCookie = '__Host-session';

/** The session's secret; undefined where there is none, or two: then somebody has planted one. */
export function readSession(header: string | undefined): string | undefined {
  const values = (header ?? '')
    .split(';')
    .map((pair) => pair.trim())
    .filter((pair) => pair.startsWith(`${sessionCookie}=`))
    .map((pair) => pair.slice(sessionCookie.length + 1));
  const [value] = values;
  return values.length === 1 && /^[A-Za-z0-9_-]{43}$/.test(value ?? '') ? value : undefined;
}

/**
 * A cookie that ends with the browser; the server ends the session anyway.
 * @param secret undefined takes it away.
 */
export function sessionHeader(secret: string | undefined): string {
  const attributes = 'Path=/; Secure; HttpOnly; SameSite=Strict';
  return secret === undefined
    ? `${sessionCookie}=; ${attributes}; Max-Age=0`
    : `${sessionCookie}=${secret}; ${attributes}`;
}
