import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseDocument } from 'yaml';
import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { redact } from '../ddns/redact.ts';
import { secretsOf } from '../ddns/settings.ts';
import { settingsPath } from '../ddns/view.ts';
import { printable, withoutSecretsLike } from '../logs/redact.ts';
import { settingsFile } from '../settings/read.ts';
import { secretPaths } from '../settings/secret-paths.ts';

/** Folders with files of which parts are secrets: found by what they are called there, or by their form. */
const folders = [
  '/etc/wireguard',
  '/etc/pi-gateway',
  '/etc/NetworkManager/system-connections',
  '/etc/wpa_supplicant',
  '/var/lib/pi-gateway',
  '/var/lib/pi-gatewayd',
];

/** Files below them that are large and have none. */
const largest = 1024 * 1024;

/** Characters from which a secret is looked for elsewhere: shorter ones are parts of words. */
const shortest = 4;

/**
 * Every secret that this device has in its files, for a search that needs no guess: what a program may have
 * written into its log is taken out whatever it looks like.
 */
export async function knownSecrets(system: System): Promise<string[]> {
  const texts = await Promise.all(folders.map((folder) => textsBelow(at(system, folder))));
  const shadow = (await readIfThere(at(system, '/etc/shadow')).catch(() => undefined)) ?? '';
  const found = new Set([
    ...texts.flat().flatMap(secretsIn),
    ...shadow.split('\n').flatMap((line) => line.split(':')[1] ?? []),
    // Others derive what is secret to them from it: machine-id(5).
    ((await readIfThere(at(system, '/etc/machine-id'))) ?? '').trim(),
    ...(await yamlSecrets(system, settingsPath, secretsOf)),
    ...(await yamlSecrets(system, settingsFile, ownerSecrets)),
  ]);
  return (
    [...found]
      .filter((secret) => secret.length >= shortest)
      // As JSON has it, e.g. in the audit log.
      .flatMap((secret) => [...new Set([secret, JSON.stringify(secret).slice(1, -1)])])
  );
}

/** The text without secrets, known or by their looks. */
export function withoutSecrets(text: string, known: readonly string[]): string {
  return withoutSecretsLike(redact(printable(text), known));
}

async function textsBelow(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
  const texts = entries
    .filter((entry) => entry.isFile())
    .map(async (entry) => {
      const text = await readFile(join(entry.parentPath, entry.name), 'utf8').catch(() => '');
      return text.length > largest ? '' : text;
    });
  return await Promise.all(texts);
}

const key = '(?:[a-z0-9_-]*(?:pass(?:word|phrase|wd)?|psk|secret|token|key)\\d*|code|hash)';
/** `psk=…` of an INI file, with all of the line; and `"token": "…"` of JSON and YAML. */
const wholeLine = new RegExp(`^\\s*"?${key}"?\\s*[:=]\\s*(.+?),?\\s*$`, 'gim');
const oneValue = new RegExp(`${key}["']?\\s*[:=]\\s*["']?([^\\s"',}]+)`, 'gi');

/** Values of keys that name a secret, files that are nothing but one, and what has the form of one. */
function secretsIn(text: string): string[] {
  const named = [...text.matchAll(wholeLine), ...text.matchAll(oneValue)].flatMap(
    ([, value = '']) => [value, ...unquoted(value)],
  );
  const formed = (text.match(/[A-Za-z0-9+/_-]{32,}={0,2}/g) ?? []).filter(
    // A path is none.
    (value) => !/^[a-z/_-]+$/.test(value),
  );
  const [only, ...others] = text.trim().split('\n');
  // A file of one word is a key, a code or a password.
  const whole = only !== undefined && others.length === 0 && /^\S+$/.test(only) ? [only] : [];
  return [...named, ...formed, ...whole].filter((value) => !harmless.has(value.toLowerCase()));
}

/** As its program takes it: without quotes and their escapes. */
function unquoted(value: string): string[] {
  const [, inner] = /^(?:"(.*)"|'(.*)')$/.exec(value) ?? [];
  return [value.replace(/^(["'])(.*)\1$/, '$2'), (inner ?? value).replaceAll(/\\(.)/g, '$1')];
}

/** Values of such keys that are words of the format. */
const harmless = new Set(['true', 'false', 'null', 'none', 'wpa-psk', 'sae', 'done', 'wg0']);

async function yamlSecrets(
  system: System,
  path: string,
  secretsIn: (data: unknown) => string[],
): Promise<string[]> {
  const text = await readIfThere(at(system, path)).catch(() => undefined);
  if (text === undefined) return [];
  const document = parseDocument(text, { prettyErrors: false, logLevel: 'silent' });
  try {
    return secretsIn(document.toJS({ maxAliasCount: 0 }));
  } catch {
    return [];
  }
}

function ownerSecrets(data: unknown): string[] {
  return secretPaths(data).flatMap((path) => {
    let value: unknown = data;
    for (const part of path) value = Object(value)[part];
    return typeof value === 'string' || typeof value === 'number' ? [String(value)] : [];
  });
}
