import * as z from 'zod';
import { defineVerb } from '../helper/verb.ts';
import {
  clientChange,
  clientName,
  clientRecord,
  importResult,
  importWish,
  newClient,
  rotationWish,
  serverRecord,
} from './schema.ts';

const named = z.strictObject({ name: clientName });

const notYet = async (): Promise<never> => {
  throw new Error('not yet');
};

/** What the helper does for the VPN. */
export const vpnVerbs = {
  'vpn.status': defineVerb({
    summary: 'Facts of the WireGuard server',
    args: z.strictObject({}),
    result: serverRecord,
    changes: false,
    run: notYet,
  }),
  'vpn.list': defineVerb({
    summary: 'All VPN clients',
    args: z.strictObject({}),
    result: z.array(clientRecord),
    changes: false,
    run: notYet,
  }),
  'vpn.add': defineVerb({
    summary: 'Add a VPN client',
    args: newClient,
    result: clientRecord,
    changes: true,
    run: notYet,
  }),
  'vpn.change': defineVerb({
    summary: 'Change a VPN client',
    args: z.strictObject({ name: clientName, change: clientChange }),
    result: clientRecord,
    changes: true,
    run: notYet,
  }),
  'vpn.revoke': defineVerb({
    summary: 'Revoke a VPN client',
    args: named,
    result: z.strictObject({}),
    changes: true,
    run: notYet,
  }),
  'vpn.rotate': defineVerb({
    summary: "Begin to replace a VPN client's keys; the old ones work until the new ones are seen",
    args: rotationWish.extend({ name: clientName }),
    result: clientRecord,
    changes: true,
    run: notYet,
  }),
  'vpn.rotate_cancel': defineVerb({
    summary: "Keep a VPN client's old keys",
    args: named,
    result: clientRecord,
    changes: true,
    run: notYet,
  }),
  'vpn.config': defineVerb({
    summary: "Hand out a VPN client's configuration",
    args: z.strictObject({ name: clientName, forget: z.boolean() }),
    result: z.strictObject({ text: z.string() }),
    changes: true,
    run: notYet,
  }),
  'vpn.qr': defineVerb({
    summary: "Show a VPN client's configuration as a QR code",
    args: z.strictObject({
      name: clientName,
      form: z.enum(['svg', 'terminal']),
      forget: z.boolean().default(false),
    }),
    result: z.strictObject({ text: z.string() }),
    changes: true,
    run: notYet,
  }),
  'vpn.import': defineVerb({
    summary: 'Import VPN clients of PiVPN or wg-easy',
    args: importWish,
    result: importResult,
    changes: true,
    audited: ({ files, ...rest }) => ({ ...rest, files: files.map((file) => file.name) }),
    run: notYet,
  }),
} as const;
