import { type Document, isScalar, parseDocument, type Scalar } from 'yaml';
import { parseOwnerYaml } from '../../firstboot/owner-yaml.ts';
import { GatewayError } from '../errors.ts';
import { isPlainObject, type Path, secretKeys, secretPaths } from './secret-paths.ts';
import { kept } from './view.ts';

/** Stands for a secret that differs, in a comparison. */
const changed = '(secret changed)';

type Readable = { document: Document; data: unknown };

/** Undefined for what the settings' own parser does not take: its data cannot be trusted to be all. */
function read(text: string): Readable | undefined {
  if (parseOwnerYaml(text).problems.length > 0) return undefined;
  const document = parseDocument(text, {
    prettyErrors: false,
    stringKeys: true,
    logLevel: 'silent',
  });
  return { document, data: document.toJS({ maxAliasCount: 0 }) };
}

type Place = { path: Path; node: Scalar; start: number; end: number };

/** Secrets of the text with their places, the last first: so they can be replaced one by one. */
function placesOf({ document, data }: Readable): Place[] {
  return secretPaths(data)
    .flatMap((path) => {
      const node: unknown = document.getIn(path, true);
      if (!isScalar(node) || !node.range) return [];
      return [{ path, node, start: node.range[0], end: node.range[1] }];
    })
    .toSorted((a, b) => b.start - a.start);
}

function replaced(text: string, { start, end }: Place, by: string): string {
  // The range of a block scalar has its last line's end in it.
  const line = text.slice(start, end).endsWith('\n') ? '\n' : '';
  return `${text.slice(0, start)}${by}${line}${text.slice(end)}`;
}

/**
 * The text with a placeholder for each secret; all else, comments too, as it is written. A comment that
 * looks like a secret setting (`# password: …`) loses its value as well.
 * @param other settings to compare with: a secret that differs there says so.
 */
export function redactedText(text: string, other?: string): string {
  const readable = read(text);
  // What is no YAML has no places, so nothing of it can be shown.
  if (!readable) return '# This is no valid YAML, and may have secrets in it.\n';
  const places = placesOf(readable);
  const others = other === undefined ? undefined : read(other);
  let so = text;
  for (const place of places) {
    const before: unknown = others?.document.getIn(place.path);
    const differs = others !== undefined && before !== undefined && before !== place.node.value;
    so = replaced(so, place, differs ? changed : kept);
  }
  return so.replaceAll(/(?<=^|\s)#.*$/gm, (comment) => redactedComment(comment, places));
}

function redactedComment(comment: string, places: readonly Place[]): string {
  const setting = new RegExp(`^(.*?\\b(?:${secretKeys().join('|')})["']?\\s*:\\s*)\\S.*$`, 'i');
  let so = comment.replace(setting, (_, before: string) => `${before}${kept}`);
  // Short ones are parts of words.
  for (const { node } of places)
    if (typeof node.value === 'string' && node.value.length >= 6)
      so = so.replaceAll(node.value, kept);
  return so;
}

/** Settings as data, with the placeholder in place of each secret. */
export function redactedData<T>(data: T): T {
  const secrets = new Set(secretPaths(data).map((path) => JSON.stringify(path)));
  const copy = (value: unknown, path: Path): unknown => {
    if (secrets.has(JSON.stringify(path))) return kept;
    if (Array.isArray(value)) return value.map((one, index) => copy(one, [...path, index]));
    if (!isPlainObject(value)) return value;
    return Object.fromEntries(
      Object.entries(value).map(([key, one]) => [key, copy(one, [...path, key])]),
    );
  };
  // Of the same shape: a text stands in place of a text.
  return copy(data, []) as T;
}

/** Settings that say where a secret is sent to. */
const destinations = ['host', 'server', 'url', 'endpoint'];
/** Settings by which an entry of a list is the one of before, wherever it stands now. */
const identities = ['name', 'id', 'type', 'topic', ...destinations];

/**
 * The text with the secrets in force where their placeholders stand.
 * @throws GatewayError where it is not clear which secret is meant, or it would go somewhere else now.
 */
export function restoreSecrets(text: string, current: string): string {
  if (!text.includes(kept)) return text;
  const now = read(text);
  // Its problems are told by whoever checks it.
  if (!now) return text;
  const old = read(current)?.data;
  let so = text;
  for (const place of placesOf(now))
    if (place.node.value === kept)
      so = replaced(so, place, JSON.stringify(secretOf(place.path, now.data, old)));
  return so;
}

function secretOf(path: Path, data: unknown, old: unknown): unknown {
  const refuse = (why: string): never => {
    throw new GatewayError(
      `${path.join('.')} is '${kept}', but ${why}`,
      'Write the secret itself there',
      'refused',
    );
  };
  let there = data;
  let before = old;
  for (const part of path.slice(0, -1)) {
    const below = part in Object(there) ? Object(there)[part] : undefined;
    if (Array.isArray(there)) before = Array.isArray(before) ? sameEntry(below, before) : undefined;
    else before = isPlainObject(before) ? before[part] : undefined;
    there = below;
  }
  const last = path.at(-1) ?? '';
  const value = isPlainObject(before) ? before[last] : undefined;
  if (typeof value !== 'string' && typeof value !== 'number')
    return refuse('it is not clear which one that is');
  for (const name of destinations)
    if (
      name !== last &&
      isPlainObject(there) &&
      isPlainObject(before) &&
      there[name] !== kept &&
      there[name] !== before[name]
    )
      return refuse(`its ${name} is another now, which would be told the secret of the other`);
  return value;
}

/** The one entry of before that has the same identity; undefined if there is none, or several. */
function sameEntry(entry: unknown, before: readonly unknown[]): unknown {
  if (!isPlainObject(entry)) return undefined;
  const found = before.filter(
    (one) =>
      isPlainObject(one) &&
      identities.every((key) => entry[key] === kept || entry[key] === one[key]),
  );
  return found.length === 1 ? found[0] : undefined;
}
