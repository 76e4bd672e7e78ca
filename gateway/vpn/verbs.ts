import * as z from 'zod';
import { defineVerb } from '../helper/verb.ts';
import {
  addClient,
  cancelRotation,
  changeClient,
  clientAsQr,
  forgetClient,
  listClients,
  revokeClient,
  rotateClient,
} from './clients.ts';
import { readConfiguration } from './configuration.ts';
import { importClients } from './import/import.ts';
import {
  clientChange,
  clientName,
  clientRecord,
  importResult,
  importWish,
  newClient,
  rotationWish,
  serverRecord,
  serverRotationWish,
} from './schema.ts';
import { describeServer } from './server.ts';
import { cancelServerRotation, finishServerRotation, rotateServer } from './server-key.ts';

const named = z.strictObject({ name: clientName });

const mayCutOff = z.strictObject({ cut_off: z.boolean().default(false) });

/** What the helper does for the VPN. */
export const vpnVerbs = {
  'vpn.status': defineVerb({
    summary: 'Facts of the WireGuard server',
    args: z.strictObject({}),
    result: serverRecord,
    changes: false,
    run: describeServer,
  }),
  'vpn.server_rotate': defineVerb({
    summary:
      "Begin to replace the VPN server's key; the old one works until all clients have moved",
    args: serverRotationWish,
    result: serverRecord,
    changes: true,
    run: async (system, wish) => {
      await rotateServer(system, wish);
      return await describeServer(system);
    },
  }),
  'vpn.server_finish': defineVerb({
    summary: "End the VPN server's old key",
    args: mayCutOff,
    result: serverRecord,
    changes: true,
    run: async (system, { cut_off }) => {
      await finishServerRotation(system, cut_off);
      return await describeServer(system);
    },
  }),
  'vpn.server_cancel': defineVerb({
    summary: "Keep the VPN server's old key",
    args: mayCutOff,
    result: serverRecord,
    changes: true,
    run: async (system, { cut_off }) => {
      await cancelServerRotation(system, cut_off);
      return await describeServer(system);
    },
  }),
  'vpn.list': defineVerb({
    summary: 'All VPN clients',
    args: z.strictObject({}),
    result: z.array(clientRecord),
    changes: false,
    run: async (system) => listClients(system),
  }),
  'vpn.add': defineVerb({
    summary: 'Add a VPN client',
    args: newClient,
    result: clientRecord,
    changes: true,
    run: addClient,
  }),
  'vpn.change': defineVerb({
    summary: 'Change a VPN client',
    args: z.strictObject({ name: clientName, change: clientChange }),
    result: clientRecord,
    changes: true,
    run: (system, { name, change }) => changeClient(system, name, change),
  }),
  'vpn.revoke': defineVerb({
    summary: 'Revoke a VPN client',
    args: named,
    result: z.strictObject({}),
    changes: true,
    run: async (system, { name }) => {
      await revokeClient(system, name);
      return {};
    },
  }),
  'vpn.rotate': defineVerb({
    summary: "Begin to replace a VPN client's keys; the old ones work until the new ones are seen",
    args: rotationWish.extend({ name: clientName }),
    result: clientRecord,
    changes: true,
    run: (system, { name, ...wish }) => rotateClient(system, name, wish),
  }),
  'vpn.rotate_cancel': defineVerb({
    summary: "Keep a VPN client's old keys",
    args: named,
    result: clientRecord,
    changes: true,
    run: (system, { name }) => cancelRotation(system, name),
  }),
  'vpn.config': defineVerb({
    summary: "Hand out a VPN client's configuration",
    args: named,
    result: z.strictObject({ text: z.string(), public_key: z.string() }),
    // The record of changes says who got a key.
    changes: true,
    run: async (system, { name }) => {
      const { text, publicKey } = await readConfiguration(system, name);
      return { text, public_key: publicKey };
    },
  }),
  'vpn.forget': defineVerb({
    summary: "Forget a VPN client's private key; with `public_key`, only that of these keys",
    args: named.extend({ public_key: z.string().max(64).optional() }),
    result: z.strictObject({}),
    changes: true,
    run: async (system, { name, public_key: publicKey }) => {
      await forgetClient(system, name, publicKey);
      return {};
    },
  }),
  'vpn.qr': defineVerb({
    summary: "Show a VPN client's configuration as a QR code",
    args: named.extend({ form: z.enum(['svg', 'terminal']) }),
    result: z.strictObject({ text: z.string() }),
    changes: true,
    run: async (system, { name, form }) => ({ text: await clientAsQr(system, name, form) }),
  }),
  'vpn.import': defineVerb({
    summary: 'Import VPN clients of PiVPN or wg-easy',
    args: importWish,
    result: importResult,
    changes: true,
    audited: ({ files, ...rest }) => ({ ...rest, files: files.map((file) => file.name) }),
    run: importClients,
  }),
} as const;
