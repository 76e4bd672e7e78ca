import { stringify } from 'yaml';
import { withoutDefaults } from '../../gateway/ddns/settings.ts';
import { settingsPath } from '../../gateway/ddns/view.ts';
import { exists } from '../image.ts';
import { readSettings } from '../settings.ts';
import type { Step } from '../step.ts';
import { at, makeFolder, readIfThere, type System, writeDurably } from '../system.ts';

/**
 * Hands the owner's DDNS settings, tokens and all, to the service that registers the name. That needs
 * the network, which first boot does not wait for: the service says itself how it went.
 */
export const ddns: Step = {
  name: 'ddns',
  needs: ['settings'],
  check: async (system) => {
    const wanted = await wantedText(system);
    return wanted === undefined || (await readIfThere(at(system, settingsPath))) === wanted;
  },
  apply: async (system) => {
    const wanted = await wantedText(system);
    if (wanted === undefined) return;
    await makeFolder(at(system, '/etc/pi-gateway'), 0o755);
    await writeDurably(at(system, settingsPath), wanted, 0o600);
    if (await exists(system, '/usr/lib/systemd/system/pi-gateway-ddns.service'))
      await system.run('systemctl', ['--no-block', 'start', 'pi-gateway-ddns.service']);
  },
};

async function wantedText(system: System): Promise<string | undefined> {
  const settings = await readSettings(system);
  return settings.ddns === undefined ? undefined : stringify(withoutDefaults(settings.ddns));
}
