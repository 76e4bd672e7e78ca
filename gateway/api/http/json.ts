/** Deeper than any body of ours, and far from what zod's or V8's stack holds. */
const deepest = 32;

/** Keys and elements of one body: a list of a thousand clients has some ten thousand. */
const most = 50_000;

/**
 * What is too much about a JSON text, found before anything is made of it: a megabyte of brackets costs
 * a parser more than a scan. Whether it is JSON at all the parser says.
 */
export function excessOf(text: string): string | undefined {
  let depth = 0;
  let items = 0;
  let inString = false;
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (inString) {
      if (code === 0x5c) i += 1;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x7b || code === 0x5b) {
      depth += 1;
      if (depth > deepest) return `It is nested deeper than ${deepest} levels`;
    } else if (code === 0x7d || code === 0x5d) depth -= 1;
    else if (code === 0x2c) {
      items += 1;
      if (items > most) return `It has more than ${most} values`;
    }
  }
  return undefined;
}
