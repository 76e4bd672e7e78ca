import type { Applier } from '../settings/applier.ts';
import type { UpdateSettings } from './settings.ts';

/** After the image's own 52-gateway: of two files, apt takes the later one's word (apt.conf(5)). */
export const aptFile = '/etc/apt/apt.conf.d/60-gateway-device';
/** Debian's timer installs between 6 and 7 o'clock. */
export const timerFile = '/etc/systemd/system/apt-daily-upgrade.timer.d/50-gateway-device.conf';

const written = 'Written by pi-gateway from /etc/pi-gateway/gateway.yaml; changes here are lost.';

/** Puts `updates:` in force: what unattended-upgrades does, and when. */
export const updatesApplier: Applier = {
  areas: ['updates'],
  files: async (_, { updates }) => ({
    [aptFile]: aptConfiguration(updates),
    [timerFile]: timerDropIn(updates),
  }),
  activate: async (system, changed) => {
    // apt reads its file at each run.
    if (!changed.includes(timerFile)) return;
    await system.run('systemctl', ['daemon-reload']);
    await system.run('systemctl', ['try-restart', 'apt-daily-upgrade.timer']);
  },
};

/** apt.conf(5); null if all is as the image has it. */
export function aptConfiguration({ automatic, reboot }: UpdateSettings): string | null {
  const lines: string[] = [];
  if (automatic !== undefined) {
    const on = automatic === 'off' ? 0 : 1;
    lines.push(
      `APT::Periodic::Update-Package-Lists "${on}";`,
      `APT::Periodic::Unattended-Upgrade "${on}";`,
    );
  }
  if (automatic === 'all')
    lines.push(
      'Unattended-Upgrade::Origins-Pattern {',
      // Raspberry Pi's own archive, and Debian's stable and its updates.
      // biome-ignore lint/suspicious/noTemplateCurlyInString: unattended-upgrades puts the release there
      '  "origin=Debian,codename=${distro_codename},label=Debian";',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the same
      '  "origin=Debian,codename=${distro_codename}-updates,label=Debian";',
      // biome-ignore lint/suspicious/noTemplateCurlyInString: the same
      '  "origin=Raspberry Pi Foundation,codename=${distro_codename}";',
      '};',
    );
  if (reboot !== undefined) {
    lines.push(`Unattended-Upgrade::Automatic-Reboot "${reboot === 'never' ? 'false' : 'true'}";`);
    if (reboot !== 'never') lines.push(`Unattended-Upgrade::Automatic-Reboot-Time "${reboot}";`);
  }
  return lines.length === 0 ? null : `// ${written}\n${lines.join('\n')}\n`;
}

/** systemd.timer(5); null for Debian's own time. */
function timerDropIn({ time }: UpdateSettings): string | null {
  if (time === undefined) return null;
  return `# ${written}
[Timer]
OnCalendar=
OnCalendar=*-*-* ${time}
# Not all gateways of a fleet at once; Debian's is an hour.
RandomizedDelaySec=10min
`;
}
