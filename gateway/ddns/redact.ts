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

/** A stranger's text, fit for one line of a log: printable ASCII, at most 120 characters. */
export function quote(text: string): string {
  const line = text
    .replace(/[^\x20-\x7e]+/g, ' ')
    .replace(/\s+/g, ' ')
    .trim();
  return line.length > 120 ? `${line.slice(0, 119)}…` : line;
}
