import * as z from 'zod';
import type { System } from '../../firstboot/system.ts';
import { type Actor, defineVerb } from '../helper/verb.ts';
import {
  changeSettings,
  checkSettings,
  confirmSettings,
  endTrial,
  pendingChange,
  returnToVersion,
  secondsLeft,
} from './apply.ts';
import { areasOf, changesOf, textDiff } from './diff.ts';
import { parseDeviceSettings } from './read.ts';
import { redactedData, redactedText, restoreSecrets } from './secrets.ts';
import { currentText, digestOf, versionOf, versions } from './store.ts';
import {
  applied,
  checked,
  confirmSeconds,
  difference,
  digest,
  type SettingsDifference,
  type SettingsVersion,
  type ShownSettings,
  settingsText,
  shownSettings,
  version,
} from './view.ts';

const none = z.strictObject({});
const textArgs = z.strictObject({ text: settingsText });

/** For the history: who, and by what. */
const nameOf = ({ via, name }: Actor): string => `${name} (${via})`;

/** Areas whose change can lock out whoever makes it. */
const lockingAreas = ['api', 'firewall'];

export const configVerbs = {
  'config.get': defineVerb({
    summary: 'Reads the settings, without their secrets',
    args: none,
    result: shownSettings,
    changes: false,
    run: show,
  }),
  'config.check': defineVerb({
    summary: 'Checks settings',
    args: textArgs,
    result: checked,
    changes: false,
    run: async (system, { text }) => {
      const whole = restoreSecrets(text, await currentText(system));
      const { problems } = await checkSettings(system, whole);
      return { valid: problems.length === 0, problems };
    },
  }),
  'config.diff': defineVerb({
    summary: 'Compares settings with those in force',
    args: textArgs,
    result: difference,
    changes: false,
    run: (system, { text }) => compare(system, text),
  }),
  'config.apply': defineVerb({
    summary: 'Puts settings in force',
    args: z.strictObject({
      text: settingsText,
      base: digest,
      confirm_seconds: confirmSeconds.optional(),
    }),
    result: applied,
    changes: true,
    // The text has secrets; what it changed is in the history.
    audited: ({ base, confirm_seconds }) => ({ base, confirm_seconds }),
    run: (system, { text, base, confirm_seconds }, actor) =>
      changeSettings(system, () => text, {
        by: nameOf(actor),
        base,
        confirmSeconds: confirm_seconds,
      }),
  }),
  'config.confirm': defineVerb({
    summary: 'Keeps settings on trial',
    args: none,
    result: applied,
    changes: true,
    run: confirmSettings,
  }),
  'config.rollback': defineVerb({
    summary: 'Returns to settings of before',
    args: z.strictObject({ version: z.number().int().min(0).optional() }),
    result: applied,
    changes: true,
    run: async (system, { version: wanted }, actor) =>
      (wanted === undefined ? await endTrial(system) : undefined) ??
      (await returnToVersion(system, wanted, { by: nameOf(actor) })),
  }),
  'config.history': defineVerb({
    summary: 'Lists versions of the settings',
    args: none,
    result: z.object({ versions: z.array(version) }),
    changes: false,
    run: async (system) => ({ versions: await history(system) }),
  }),
} as const;

async function show(system: System): Promise<ShownSettings> {
  const text = await currentText(system);
  const { parsed, problems } = await checkSettings(system, text);
  const pending = await pendingChange(system);
  return {
    version: versionOf(await versions(system), text),
    digest: await digestOf(system, text),
    text: redactedText(text),
    settings: parsed.problems.length > 0 ? {} : redactedData(parsed.settings),
    problems,
    pending: pending ? { version: pending.from, seconds_left: secondsLeft(pending) } : null,
  };
}

async function compare(system: System, text: string): Promise<SettingsDifference> {
  const current = await currentText(system);
  const whole = restoreSecrets(text, current);
  const { parsed, problems } = await checkSettings(system, whole);
  if (problems.length > 0)
    return { valid: false, problems, changes: [], areas: [], text: '', confirm_advised: false };
  const changes = changesOf(parseDeviceSettings(current).written, parsed.written);
  const areas = areasOf(changes);
  return {
    valid: true,
    problems,
    changes,
    areas,
    text: textDiff(current, whole),
    confirm_advised: areas.some((area) => lockingAreas.includes(area)),
  };
}

/** Newest first. */
async function history(system: System): Promise<SettingsVersion[]> {
  const all = await versions(system);
  const current = versionOf(all, await currentText(system));
  const entries = all.map(async (one, index): Promise<SettingsVersion> => {
    const before = parseDeviceSettings(all[index - 1]?.text ?? '').written;
    const changes = changesOf(before, parseDeviceSettings(one.text).written);
    return {
      version: one.version,
      at: one.at,
      by: one.by,
      digest: await digestOf(system, one.text),
      changes: changes.map(({ key, kind }) => ({ key, kind })),
      current: one.version === current,
    };
  });
  return (await Promise.all(entries)).toReversed();
}
