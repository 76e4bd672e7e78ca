import { readdir, stat, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { at, readIfThere, type System } from '../../firstboot/system.ts';
import { readJournal } from '../logs/journal.ts';
import { bytes, span } from '../terminal.ts';
import { type Examination, failed, ok, skipped, warning } from './examination.ts';

/** Percent of a file system in use from which it is told, and from which things fail: apt unpacks before it replaces. */
const nearlyFull = 85;
const full = 95;

const disk: Examination = {
  id: 'disk',
  title: 'Space on the card',
  run: async ({ system }) => {
    const looks = ['/', system.boot].map(async (path) => {
      const { blocks, bfree, bavail, bsize } = await statfs(join(system.root, path));
      const used = blocks - bfree;
      // As df(1): what is kept for root counts for neither side.
      return { path, percent: (100 * used) / Math.max(1, used + bavail), free: bavail * bsize };
    });
    // The boot partition need not be mounted.
    const all = (await Promise.allSettled(looks)).flatMap((one) =>
      one.status === 'fulfilled' ? [one.value] : [],
    );
    const worst = all.reduce((a, b) => (b.percent > a.percent ? b : a));
    const found = all
      .map(
        ({ path, percent, free }) => `${path} ${Math.round(percent)} % in use, ${bytes(free)} free`,
      )
      .join('; ');
    const fix =
      'What takes it: sudo du -xh / | sort -h | tail -20; old packages: sudo apt-get clean; the journal: sudo journalctl --vacuum-size=20M';
    if (worst.percent >= full)
      return failed(found, 'Soon nothing can be written: updates, keys and logs fail', fix);
    return worst.percent >= nearlyFull
      ? warning(found, 'When it is full, updates, keys and logs fail', fix)
      : ok(found);
  },
};

const card: Examination = {
  id: 'card',
  title: 'Health of the card',
  run: async ({ system }) => {
    const mounts = (await readIfThere(at(system, '/proc/mounts'))) ?? '';
    const root = mounts.split('\n').findLast((line) => line.split(' ')[1] === '/');
    if (root?.split(' ')[3]?.split(',').includes('ro'))
      return failed(
        'The root file system is read-only',
        'The kernel does that when the card fails: nothing that is changed now is kept',
        'Save what you need (docs/operations.md), then write the image to a new card',
      );
    const { entries } = await readJournal(system, {
      kernel: true,
      priority: 'err',
      since: new Date(Date.now() - 7 * 86_400_000).toISOString(),
      limit: 1000,
    });
    const errors = entries.filter(({ message }) =>
      /\b(mmcblk\d|mmc\d|sd[a-z]|nvme\d)\b.*\b(error|timeout|failed)\b|I\/O error|EXT4-fs error/i.test(
        message,
      ),
    );
    const worn = await wear(system);
    const fix = 'Make a copy of your keys (docs/operations.md) and write the image to a new card';
    if (errors.length > 0)
      return failed(
        `${errors.length} errors in a week, the last: ${errors[0]?.message}`,
        'The card, its slot or the power supply is failing',
        fix,
      );
    if (worn !== undefined && worn >= 80)
      return warning(`${worn} % of its life is used`, 'It may fail within months', fix);
    return ok(
      worn === undefined
        ? 'No errors in a week; it does not tell its wear'
        : `${worn} % of its life is used`,
    );
  },
};

/** Percent of its life that is used, in steps of ten: JEDEC eMMC 5.0, EXT_CSD 268 and 269. */
async function wear(system: System): Promise<number | undefined> {
  const disks = await readdir(at(system, '/sys/block')).catch(() => []);
  const lives = await Promise.all(
    disks.map((name) => readIfThere(at(system, `/sys/block/${name}/device/life_time`))),
  );
  const values = lives.flatMap((text) => text?.trim().split(/\s+/).map(Number) ?? []);
  const most = Math.max(0, ...values.filter((value) => Number.isInteger(value)));
  return most > 0 ? most * 10 : undefined;
}

const power: Examination = {
  id: 'power',
  title: 'Power and heat',
  run: async ({ system }) => {
    const path = '/sys/devices/platform/soc/soc:firmware/get_throttled';
    const text = (await readIfThere(at(system, path)))?.trim();
    if (text === undefined || !/^(0x)?[0-9a-f]+$/i.test(text))
      return skipped('This machine does not tell');
    // vcgencmd get_throttled: 0 under-voltage, 1 frequency capped, 2 throttled, 3 too hot; 16 to 19: since boot.
    const bits = Number.parseInt(text, 16);
    const supply =
      'Use the supply made for this model (27 W for a Pi 5, 15 W for a Pi 4) and a short cable; USB disks need one of their own';
    const heat = 'Give it a heat sink or a fan, and air';
    if (bits & 0x1)
      return failed('Under-voltage now', 'The Pi slows down, and cards lose data', supply);
    if (bits & 0xe)
      return failed('It slows down because it is too hot', 'It has less speed than it could', heat);
    if (bits & 0x10000)
      return warning('There was under-voltage since the start', 'Cards lose data by it', supply);
    if (bits & 0xe0000)
      return warning(
        'It has slowed down since the start because it was too hot',
        'It has less speed than it could',
        heat,
      );
    return ok('Enough power, and cool, since the start');
  },
};

/** Days after which an update that is daily has not been. */
const stale = 4;

const updates: Examination = {
  id: 'updates',
  title: 'Security updates',
  run: async ({ system, now }) => {
    const due = (await readIfThere(at(system, '/run/reboot-required'))) !== undefined;
    const looked = await stat(at(system, '/var/lib/apt/periodic/update-success-stamp'))
      .catch(() => stat(at(system, '/var/lib/apt/periodic/update-stamp')))
      .catch(() => undefined);
    const age = looked ? (now() - looked.mtimeMs) / 1000 : undefined;
    const simulated = await system
      .run('apt-get', ['--simulate', '--quiet=2', '-o', 'Debug::NoLocking=1', 'upgrade'])
      .catch(() => '');
    const waiting = simulated.split('\n').filter((line) => line.startsWith('Inst '));
    const security = waiting.filter((line) => /security/i.test(line)).length;
    const count = `${waiting.length} wait, ${security} of them for security`;
    if (age === undefined || age > stale * 86_400)
      return warning(
        `${age === undefined ? 'None has been looked for yet' : `None has been looked for in ${span(age)}`}; ${count}`,
        'Holes that are known stay open',
        'Look now: sudo pi-gateway update; see why not: sudo pi-gateway logs --unit apt-daily.service',
      );
    if (due)
      return warning(
        `A restart is due; ${count}`,
        'What was updated is in force after it',
        'Restart the device: sudo systemctl reboot',
      );
    return security > 0
      ? warning(
          count,
          'They are installed by themselves in the night',
          'Install them now: sudo pi-gateway update',
        )
      : ok(`Looked for ${span(age)} ago; ${count}`);
  },
};

const memory: Examination = {
  id: 'memory',
  title: 'Memory',
  run: async ({ system }) => {
    const table = (await readIfThere(at(system, '/proc/meminfo'))) ?? '';
    const of = (name: string) =>
      Number(new RegExp(`^${name}: +(\\d+) kB`, 'm').exec(table)?.[1] ?? 0) * 1024;
    const [total, available] = [of('MemTotal'), of('MemAvailable')];
    const found = `${bytes(available)} of ${bytes(total)} free`;
    return available < total * 0.08
      ? warning(
          found,
          'Programs are killed when it runs out',
          'What takes it: systemd-cgtop --order=memory',
        )
      : ok(found);
  },
};

export const deviceExaminations: readonly Examination[] = [disk, card, power, memory, updates];
