import { type Document, isMap, isScalar, isSeq, parseDocument } from 'yaml';
import { GatewayError } from '../errors.ts';

/** One change of gateway.yaml by its key, as `config set` makes it: comments and order stay. */

const open = (text: string): Document => {
  const document = parseDocument(text, { prettyErrors: false, logLevel: 'silent' });
  if (document.errors.length > 0)
    throw new GatewayError(
      'The settings in force are no valid YAML',
      'Mend them first: sudo pi-gateway config edit',
      'refused',
    );
  return document;
};

const print = (document: Document): string => document.toString({ lineWidth: 0 });

/**
 * @param key dotted, entries of lists by their number from 0: `firewall.forwards.0.to`.
 * @param value YAML: `never`, `[a, b]`, `{tcp: 443, to: 192.168.10.2}`.
 */
export function withSetting(text: string, key: string, value: string): string {
  const document = open(text);
  const parsed = parseDocument(value, { prettyErrors: false, logLevel: 'silent' });
  if (parsed.errors.length > 0 || parsed.contents === null)
    throw new GatewayError(
      `The value of ${key} is no YAML`,
      "Put it in quotes for the shell, e.g. '{tcp: 443, to: 192.168.10.2}'",
      'refused',
    );
  const path: (string | number)[] = [];
  for (const part of partsOf(key)) {
    const there: unknown = path.length === 0 ? document.contents : document.getIn(path, true);
    // A key with nothing behind it takes what comes.
    if (isScalar(there) && there.value === null) document.deleteIn(path);
    else if (path.length > 0 && there !== undefined && !isMap(there) && !isSeq(there))
      throw new GatewayError(
        `${path.join('.')} is a value, and has nothing below it`,
        'See what there is: sudo pi-gateway config show',
        'refused',
      );
    const isIndex = /^\d+$/.test(part) && !isMap(there);
    const count = isSeq(there) ? there.items.length : 0;
    if (isIndex && Number(part) > count)
      throw new GatewayError(
        `${path.join('.')} has ${count} entries, so the next one is ${count}`,
        `Take the number ${count}`,
        'refused',
      );
    path.push(isIndex ? Number(part) : part);
  }
  const old: unknown = document.getIn(path, true);
  const next = parsed.contents;
  // The comment behind the old value stands behind the new one.
  if (isScalar(old) && isScalar(next) && old.comment) next.comment ??= old.comment;
  document.setIn(path, next);
  return print(document);
}

export function withoutSetting(text: string, key: string): string {
  const document = open(text);
  const parts = partsOf(key);
  if (document.getIn(parts, true) === undefined)
    throw new GatewayError(
      `${key} is not set`,
      'See what is: sudo pi-gateway config show',
      'missing',
    );
  document.deleteIn(parts);
  return print(document);
}

function partsOf(key: string): string[] {
  const parts = key.split('.');
  if (parts.some((part) => part === ''))
    throw new GatewayError(
      `'${key}' is no key`,
      'Keys are dotted, e.g. updates.reboot: docs/settings.md',
      'refused',
    );
  return parts;
}
