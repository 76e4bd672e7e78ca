/**
 * Takes secrets out of text that goes to the journal, the state or the screen: the known ones in every
 * encoding that a request gives them, and the query and user of any URL.
 */
export function redact(text: string, secrets: readonly string[]): string {
  const forms = secrets
    .filter((secret) => secret !== '')
    .flatMap((secret) => [
      secret,
      encodeURIComponent(secret),
      new URLSearchParams([['', secret]]).toString().slice(1),
      Buffer.from(secret).toString('base64'),
    ])
    // The longest first, so that no part of one is left when a shorter is in it.
    .toSorted((a, b) => b.length - a.length);
  return forms
    .reduce((so, form) => so.replaceAll(form, '***'), text)
    .replace(/(https?:\/\/)[^\s/?#@]+@/gi, '$1***@')
    .replace(/(https?:\/\/[^\s?#]+)[?#]\S*/gi, '$1?***');
}

/** A stranger's text as one line of printable ASCII. */
export function oneLine(text: string): string {
  return text
    .replace(/[^\x20-\x7e]+/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
}

/**
 * A stranger's text, fit for a line of a log: one line of at most 120 characters. What may hold a secret
 * is redacted before: a part of one that the cut leaves is not found any more.
 */
export function quote(text: string): string {
  const line = oneLine(text);
  return line.length > 120 ? `${line.slice(0, 119)}…` : line;
}
