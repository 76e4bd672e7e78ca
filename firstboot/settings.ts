import { join } from 'node:path';
import { LineCounter, parseDocument } from 'yaml';
import * as z from 'zod';
import { hostname, publicKeyProblem, sshPublicKey, unixName } from '../builder/config/fields.ts';
import { OwnerError } from './step.ts';
import { readIfThere, type System } from './system.ts';

export const settingsFile = 'gateway-device.yaml';
export const keysFile = 'authorized_keys';

const schema = z.strictObject({
  hostname: hostname.optional(),
  admin: z
    .strictObject({
      name: unixName.optional(),
      ssh_authorized_keys: z
        .array(sshPublicKey)
        .min(1, 'must hold at least one public key')
        .optional(),
    })
    .optional(),
});

/** What the owner asks of this device. */
export type Settings = z.output<typeof schema>;

/**
 * Reads the owner's settings from the boot partition: gateway-device.yaml, and for the hurried the
 * public keys in authorized_keys.
 * @throws OwnerError that names the file, the line and what to write instead.
 */
export async function readSettings(system: System): Promise<Settings> {
  const text = await readIfThere(join(system.root, system.boot, settingsFile));
  const settings = text === undefined ? {} : parseSettings(text);
  const keys = await readIfThere(join(system.root, system.boot, keysFile));
  if (keys === undefined) return settings;
  const all = [...(settings.admin?.ssh_authorized_keys ?? []), ...parseKeys(keys)];
  return { ...settings, admin: { ...settings.admin, ssh_authorized_keys: [...new Set(all)] } };
}

/** Parses gateway-device.yaml; a byte order mark and Windows line ends are fine. */
export function parseSettings(text: string): Settings {
  const counter = new LineCounter();
  const document = parseDocument(text.replace(/^\uFEFF/, ''), {
    lineCounter: counter,
    prettyErrors: false,
  });
  const [problem] = document.errors;
  if (problem) {
    const { line, col } = counter.linePos(problem.pos[0]);
    throw new OwnerError(
      `${settingsFile}:${line}:${col}: ${problem.message}`,
      'Mend the line; gateway-device.yaml.example shows how it looks',
    );
  }
  const parsed = schema.safeParse(document.toJS({ maxAliasCount: 0 }) ?? {});
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const path = issue?.path ?? [];
  const wanted = issue?.code === 'unrecognized_keys' ? [...path, issue.keys[0] ?? ''] : path;
  const node = document.getIn(wanted, true) as { range?: [number, number, number] } | undefined;
  const { line, col } = counter.linePos(node?.range?.[0] ?? 0);
  throw new OwnerError(
    `${settingsFile}:${line}:${col}: ${wanted.join('.')}: ${issue?.message ?? 'is wrong'}`,
    'Mend the line; gateway-device.yaml.example shows how it looks',
  );
}

/** Lines of an authorized_keys file. */
export function parseKeys(text: string): string[] {
  const lines = text
    .replace(/^\uFEFF/, '')
    .split(/\r?\n/)
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'));
  for (const [index, line] of lines.entries()) {
    const problem = publicKeyProblem(line);
    if (problem)
      throw new OwnerError(
        `${keysFile}: key ${index + 1} ${problem}`,
        'Put the lines of your .pub files there',
      );
  }
  return lines;
}
