import { GatewayError } from '../errors.ts';
import { zoneReport } from '../firewall/status.ts';
import type { Applier, SettingsMistake } from '../settings/applier.ts';
import { autorateFile, hasTuning, requestFile } from './request.ts';
import { tuningSettings } from './settings.ts';

const service = 'pi-gateway-tuning.service';
const autorate = 'pi-gateway-autorate.service';

/** Puts `tuning:` in force. */
export const tuningApplier: Applier = {
  areas: ['tuning'],
  check: async (system, { tuning }) => {
    if (JSON.stringify(tuning) === usual) return [];
    if (!(await hasTuning(system)))
      return [
        {
          path: ['tuning'],
          message:
            'this image was built without network tuning: build one with stages: {tuning: {}} in gateway.yaml',
        },
      ];
    const zones = await zoneReport(system).then(
      (report) => report.zones,
      () => [],
    );
    const seen = new Set<string>();
    return tuning.uplinks.flatMap((one, index): SettingsMistake[] => {
      const path = ['tuning', 'uplinks', index, 'interface'];
      const zone = zones.find(({ interfaces }) => interfaces.includes(one.interface));
      const isTwice = seen.has(one.interface);
      seen.add(one.interface);
      if (zone) return [{ path, message: `is of the zone ${zone.name}, and no uplink` }];
      if (isTwice) return [{ path, message: 'is in the list twice' }];
      if (one.upload === undefined && one.download === undefined)
        return [{ path, message: 'needs a rate: upload, download or both' }];
      return [];
    });
  },
  files: async (_, { tuning }) => ({
    [requestFile]: JSON.stringify(tuning) === usual ? null : `${JSON.stringify(tuning)}\n`,
    [autorateFile]: tuning.uplinks.some((one) => one.autorate)
      ? 'Rates of uplinks follow the latency: pi-gateway-autorate.service\n'
      : null,
  }),
  activate: async (system, changed) => {
    if (!(await hasTuning(system))) return;
    if (!changed.includes(requestFile) && !changed.includes(autorateFile)) return;
    await system.run('systemctl', ['stop', autorate]);
    try {
      await system.run('systemctl', ['restart', service]);
    } catch {
      throw new GatewayError(
        'The kernel does not take the network settings',
        `See which: sudo journalctl -u ${service} -n 20`,
      );
    }
    // Does nothing unless the file is there: the unit's condition.
    await system.run('systemctl', ['start', '--no-block', autorate]);
  },
};

const usual = JSON.stringify(tuningSettings.parse({}));
