import { type OwnerYaml, type Problem, parseOwnerYaml } from '../../firstboot/owner-yaml.ts';
import { schemaProblems } from '../../firstboot/schema-problems.ts';
import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { GatewayError } from '../errors.ts';
import { type Settings, settingsSchema } from './schema.ts';
import type { SettingsProblem } from './view.ts';

/** The owner's settings of the device: 0640 root:pi-gatewayd. Without the file all is as usual. */
export const settingsFile = '/etc/pi-gateway/gateway.yaml';

export type ParsedSettings = {
  /** As usual throughout, if there are problems. */
  settings: Settings;
  /** What the owner has written, and nothing else. */
  written: unknown;
  problems: SettingsProblem[];
  yaml: OwnerYaml;
};

/** Checks the text of gateway.yaml; every problem with its place. */
export function parseDeviceSettings(text: string): ParsedSettings {
  const yaml = parseOwnerYaml(text);
  if (yaml.problems.length > 0) return unusable(yaml, yaml.problems);
  const parsed = settingsSchema.safeParse(yaml.data);
  if (!parsed.success) {
    const problems = schemaProblems(yaml, settingsSchema, parsed.error);
    return unusable(yaml, problems);
  }
  return { settings: parsed.data, written: yaml.data, problems: [], yaml };
}

function unusable(yaml: OwnerYaml, problems: readonly Problem[]): ParsedSettings {
  const usual = settingsSchema.parse({});
  return { settings: usual, written: {}, problems: problems.map((one) => placed(yaml, one)), yaml };
}

/** A problem with line, column and key apart, as clients want them. */
export function placed(yaml: OwnerYaml, { offset, message }: Problem): SettingsProblem {
  const [line = 1, column = 1] = yaml.place(offset).split(':').map(Number);
  const [, key = '', rest = message] = /^([a-z][\w.]*): (.*)$/s.exec(message) ?? [];
  return { line, column, key, message: rest };
}

/**
 * The settings of this device, for whoever lives by them. With a file that cannot be used all is as usual:
 * a gateway that stands still is worse than one without its owner's wishes.
 */
export async function readDeviceSettings(
  system: System,
): Promise<{ settings: Settings; problems: SettingsProblem[] }> {
  const text = await readIfThere(at(system, settingsFile));
  const { settings, problems } = parseDeviceSettings(text ?? '');
  return { settings, problems };
}

/** `gateway.yaml:3:5: firewall.forwards.0.to: is missing`, one to a line. */
export function problemText(problems: readonly SettingsProblem[], file = 'gateway.yaml'): string {
  const shown = problems
    .slice(0, 10)
    .map(
      ({ line, column, key, message }) =>
        `${file}:${line}:${column}: ${key === '' ? '' : `${key}: `}${message}`,
    );
  if (problems.length > 10) shown.push(`and ${problems.length - 10} more`);
  return shown.join('\n');
}

/** @throws GatewayError if there are any. */
export function refuseProblems(problems: readonly SettingsProblem[]): void {
  if (problems.length > 0)
    throw new GatewayError(
      problemText(problems),
      `Mend ${problems.length === 1 ? 'the line' : 'these lines'}; docs/settings.md has every key`,
      'refused',
    );
}
