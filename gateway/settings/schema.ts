import * as z from 'zod';
import { firewallSettings } from '../firewall/settings.ts';
import { updateSettings } from '../updates/settings.ts';

/** Everything that an owner may set on the device: /etc/pi-gateway/gateway.yaml. Every key is optional. */
export const settingsSchema = z.strictObject({
  firewall: firewallSettings.prefault({}).describe('Port forwards'),
  updates: updateSettings.prefault({}).describe('Updates of Debian packages'),
});

export type Settings = z.output<typeof settingsSchema>;
export type SettingsArea = keyof Settings;
