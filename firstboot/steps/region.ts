import { lstat, readlink } from 'node:fs/promises';
import { exists } from '../image.ts';
import { readSettings, type Settings } from '../settings.ts';
import { OwnerError, type Step } from '../step.ts';
import { at, linkDurably, readIfThere, type System, writeDurably } from '../system.ts';

const zones = '/usr/share/zoneinfo';

export const timeZone: Step = {
  name: 'timezone',
  needs: ['settings'],
  check: async (system) => {
    const { timezone } = await readSettings(system);
    if (timezone === undefined) return true;
    const link = await readlink(at(system, '/etc/localtime')).catch(() => '');
    const name = (await readIfThere(at(system, '/etc/timezone')))?.trim();
    return link === `${zones}/${timezone}` && name === timezone;
  },
  apply: async (system) => {
    const { timezone } = await readSettings(system);
    if (timezone === undefined) return;
    if (!(await exists(system, `${zones}/${timezone}`)))
      throw new OwnerError(
        `timezone: this image has no time zone ${timezone}`,
        'Take its present name, e.g. America/New_York for US/Eastern (the old names are in the package tzdata-legacy)',
      );
    await linkDurably(`${zones}/${timezone}`, at(system, '/etc/localtime'));
    await writeDurably(at(system, '/etc/timezone'), `${timezone}\n`);
  },
};

export const locale: Step = {
  name: 'locale',
  // locale-gen(8) of one locale: 3 s on a Pi 4, half a minute under emulation.
  timeout: 180_000,
  needs: ['settings'],
  check: async (system) => {
    const wanted = (await readSettings(system)).locale;
    if (wanted === undefined) return true;
    for (const path of await localeFiles(system))
      if ((await readIfThere(at(system, path))) !== `LANG=${wanted}\n`) return false;
    return await isGenerated(system, wanted);
  },
  apply: async (system) => {
    const wanted = (await readSettings(system)).locale;
    if (wanted === undefined) return;
    if (!(await isGenerated(system, wanted))) await generate(system, wanted);
    for (const path of await localeFiles(system))
      await writeDurably(at(system, path), `LANG=${wanted}\n`);
  },
};

/** systemd reads the first, PAM on Debian the second, which may be a link to it: locale.conf(5), pam_env(8). */
async function localeFiles(system: System): Promise<string[]> {
  const debian = await lstat(at(system, '/etc/default/locale')).catch(() => undefined);
  return ['/etc/locale.conf', ...(debian?.isSymbolicLink() ? [] : ['/etc/default/locale'])];
}

/** True for C.UTF-8, which the C library has built in, and for what locale(1) lists, in its own spelling. */
async function isGenerated(system: System, name: string): Promise<boolean> {
  if (name === 'C.UTF-8') return true;
  const list = await system.run('locale', ['-a']);
  return list.split('\n').includes(name.replace('UTF-8', 'utf8'));
}

async function generate(system: System, name: string): Promise<void> {
  const source = `/usr/share/i18n/locales/${name.replace('.UTF-8', '')}`;
  if (!(await exists(system, source)))
    throw new OwnerError(
      `locale: this image cannot make ${name}`,
      `Leave locale out, or build the image with stages.firstboot.locales: true (or stages.system.locale: ${name})`,
    );
  const list = (await readIfThere(at(system, '/etc/locale.gen'))) ?? '';
  if (!list.split('\n').includes(`${name} UTF-8`))
    await writeDurably(at(system, '/etc/locale.gen'), `${list.trimEnd()}\n${name} UTF-8\n`);
  await system.run('locale-gen', ['--keep-existing'], { timeout: 180_000 });
  await system.run('sync', ['--file-system', '/usr/lib/locale']);
}

export const keyboard: Step = {
  name: 'keyboard',
  needs: ['settings'],
  check: async (system) => {
    const wanted = (await readSettings(system)).keyboard;
    return (
      wanted === undefined ||
      (await readIfThere(at(system, '/etc/default/keyboard'))) === keyboardText(wanted)
    );
  },
  apply: async (system) => {
    const wanted = (await readSettings(system)).keyboard;
    if (wanted === undefined) return;
    if (!(await exists(system, '/usr/bin/setupcon')))
      throw new OwnerError(
        'keyboard: this image has no console-setup, so its keyboard stays American',
        'Leave keyboard out, or build the image with stages.firstboot.keyboard: true',
      );
    await writeDurably(at(system, '/etc/default/keyboard'), keyboardText(wanted));
    // Not worth a failure: the next boot has it. The service has the console's device, which this one has not.
    try {
      await system.run('setupcon', ['--save-only', '--keyboard-only']);
      await system.run('systemctl', ['--no-block', 'restart', 'keyboard-setup.service']);
    } catch (error) {
      system.say(`keyboard: from the next boot on (${String(error)})`);
    }
  },
};

/** keyboard(5). */
function keyboardText(wanted: NonNullable<Settings['keyboard']>): string {
  return [
    'XKBMODEL="pc105"',
    `XKBLAYOUT="${wanted.layout}"`,
    `XKBVARIANT="${wanted.variant ?? ''}"`,
    ...['XKBOPTIONS=""', 'BACKSPACE="guess"', ''],
  ].join('\n');
}
