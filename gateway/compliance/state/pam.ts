import { dropIns, type Facts, once, readIfThere, settings } from '../facts.ts';

export type PamLine = { type: string; module: string; args: readonly string[]; text: string };

/** A PAM service's lines with all that it includes: pam.conf(5). */
export function pamLines(facts: Facts, service: string, depth = 0): PamLine[] {
  if (depth > 8) throw new Error(`/etc/pam.d/${service} includes itself`);
  return settings(facts.tree.read(`/etc/pam.d/${service}`).replaceAll('\\\n', ' ')).flatMap(
    (text) => {
      const include = /^@include\s+(\S+)/.exec(text)?.[1];
      if (include) return pamLines(facts, include, depth + 1);
      const [, type = '', control = '', module = '', rest = ''] =
        /^-?(\w+)\s+(\[[^\]]*\]|\S+)\s+(\S+)\s*(.*)$/.exec(text) ?? [];
      if (control === 'include' || control === 'substack')
        return pamLines(facts, module, depth + 1).filter((line) => line.type === type);
      const args = rest.split(/\s+/).filter(Boolean);
      return module ? [{ type, module: module.split('/').at(-1) ?? '', args, text }] : [];
    },
  );
}

/** The lines of one module in a service's stack of one type. */
export function pamModule(facts: Facts, service: string, type: string, module: string): PamLine[] {
  return pamLines(facts, service).filter((line) => line.type === type && line.module === module);
}

/** `key = value` or a bare `key` as the configuration of PAM modules has it; the last one counts. */
function moduleSettings(facts: Facts, paths: readonly string[]): ReadonlyMap<string, string> {
  const values = new Map<string, string>();
  for (const path of paths)
    for (const line of settings(readIfThere(facts, path) ?? '')) {
      const [key = '', value = ''] = line.split('=', 2);
      values.set(key.trim(), value.trim());
    }
  return values;
}

export const faillock = once((facts) => moduleSettings(facts, ['/etc/security/faillock.conf']));
export const pwhistory = once((facts) => moduleSettings(facts, ['/etc/security/pwhistory.conf']));
/** pwquality.conf(5): the drop-ins first, then the file itself, so that it wins. */
export const pwquality = once((facts) =>
  moduleSettings(facts, [
    ...dropIns(facts, ['/etc/security/pwquality.conf.d'], '.conf'),
    '/etc/security/pwquality.conf',
  ]),
);

/** A module's setting: its argument in the stack, else its file. */
export function pamSetting(
  lines: readonly PamLine[],
  file: ReadonlyMap<string, string>,
  key: string,
): string | undefined {
  for (const line of lines)
    for (const arg of line.args) {
      const [name, value = ''] = arg.split('=', 2);
      if (name === key) return value;
    }
  return file.get(key);
}
