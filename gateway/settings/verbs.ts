import * as z from 'zod';
import { GatewayError } from '../errors.ts';
import { defineVerb } from '../helper/verb.ts';
import {
  applied,
  checked,
  confirmSeconds,
  difference,
  digest,
  settingsText,
  shownSettings,
  version,
} from './view.ts';

const none = z.strictObject({});
const notYet = async (): Promise<never> => {
  throw new GatewayError('The settings cannot be changed yet', 'Edit /etc/pi-gateway/gateway.yaml');
};

export const configVerbs = {
  'config.get': defineVerb({
    summary: 'Reads the settings, without their secrets',
    args: none,
    result: shownSettings,
    changes: false,
    run: notYet,
  }),
  'config.check': defineVerb({
    summary: 'Checks settings',
    args: z.strictObject({ text: settingsText }),
    result: checked,
    changes: false,
    run: notYet,
  }),
  'config.diff': defineVerb({
    summary: 'Compares settings with those in force',
    args: z.strictObject({ text: settingsText }),
    result: difference,
    changes: false,
    run: notYet,
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
    audited: ({ base, confirm_seconds }) => ({ base, confirm_seconds }),
    run: notYet,
  }),
  'config.confirm': defineVerb({
    summary: 'Keeps settings on trial',
    args: none,
    result: applied,
    changes: true,
    run: notYet,
  }),
  'config.rollback': defineVerb({
    summary: 'Returns to settings of before',
    args: z.strictObject({ version: z.number().int().min(0).optional() }),
    result: applied,
    changes: true,
    run: notYet,
  }),
  'config.history': defineVerb({
    summary: 'Lists versions of the settings',
    args: none,
    result: z.object({ versions: z.array(version) }),
    changes: false,
    run: notYet,
  }),
} as const;
