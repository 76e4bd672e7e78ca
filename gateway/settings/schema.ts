import * as z from 'zod';
import { alertSettings } from '../alerts/settings.ts';
import { firewallSettings } from '../firewall/settings.ts';
import { monitorSettings } from '../monitor/settings.ts';
import { updateSettings } from '../updates/settings.ts';
import { vpnSettings } from '../vpn/settings.ts';

/** Everything that an owner may set on the device: /etc/pi-gateway/gateway.yaml. Every key is optional. */
export const settingsSchema = z.strictObject({
  alerts: alertSettings.prefault({}).describe('Whom alerts are sent to, and when'),
  firewall: firewallSettings.prefault({}).describe('Port forwards'),
  monitor: monitorSettings.prefault({}).describe('What is watched, and its limits'),
  updates: updateSettings.prefault({}).describe('Updates of Debian packages'),
  vpn: vpnSettings.prefault({}).describe('What new VPN clients get'),
});

export type Settings = z.output<typeof settingsSchema>;
export type SettingsArea = keyof Settings;
