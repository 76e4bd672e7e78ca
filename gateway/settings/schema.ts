import * as z from 'zod';
import { alertSettings } from '../alerts/settings.ts';
import { apiSettings } from '../api/settings.ts';
import { backupSettings } from '../backup/settings.ts';
import { containersSettings } from '../containers/settings.ts';
import { firewallSettings } from '../firewall/settings.ts';
import { monitorSettings } from '../monitor/settings.ts';
import { routerSettings } from '../portmap/settings.ts';
import { proxySettings } from '../proxy/settings.ts';
import { tuningSettings } from '../tuning/settings.ts';
import { updateSettings } from '../updates/settings.ts';
import { vpnSettings } from '../vpn/settings.ts';

/** Everything that an owner may set on the device: /etc/pi-gateway/gateway.yaml. Every key is optional. */
export const settingsSchema = z.strictObject({
  api: z.prefault(apiSettings, {}).describe('API and dashboard'),
  monitor: z.prefault(monitorSettings, {}).describe('What is watched, and from when on it is told'),
  alerts: z.prefault(alertSettings, {}).describe('Whom the gateway tells, and how'),
  vpn: z.prefault(vpnSettings, {}).describe('What new VPN clients get'),
  firewall: z.prefault(firewallSettings, {}).describe('Port forwards'),
  proxy: z.prefault(proxySettings, {}).describe('Services behind names, with certificates'),
  backup: z.prefault(backupSettings, {}).describe('Where backups go, when, how long they are kept'),
  router: z
    .prefault(routerSettings, {})
    .describe('What the router before the gateway is asked for'),
  containers: z.prefault(containersSettings, {}).describe('Apps in containers'),
  tuning: z.prefault(tuningSettings, {}).describe('Network tuning: queues, rates, classes, MTU'),
  updates: z.prefault(updateSettings, {}).describe('Updates of Debian packages'),
});

export type Settings = z.output<typeof settingsSchema>;
export type SettingsArea = keyof Settings;
