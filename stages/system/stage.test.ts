import { chmod, mkdir, mkdtemp, readFile, rm, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { project } from '../../builder/testing/build.ts';
import { renderStage } from '../testing.ts';
import { confines } from './app-armor.ts';
import { withLoginDefs } from './login-defs.ts';
import { privilegedRules, system } from './stage.ts';

const options = (given: object = {}) => system.options.parse(given);

describe('the admin', () => {
  test('may become root without a password, as there is none to ask for', async () => {
    const files = await renderStage(system, { admin: 'ada' });
    expect(files.text('/etc/sudoers.d/10-gateway-admin')).toContain(
      '\nada ALL=(ALL:ALL) NOPASSWD: ALL\n',
    );
    expect(files.mode('/etc/sudoers.d/10-gateway-admin')).toBe(0o440);
  });

  test('is recorded when using sudo; its output only where asked', async () => {
    const log = (await renderStage(system)).text('/etc/sudoers.d/20-gateway-log');
    expect(log).toContain('Defaults use_pty\nDefaults logfile=/var/log/sudo.log\n');
    expect(log).not.toContain('log_output');
    const all = (await renderStage(system, { sudo_output_log: true })).text(
      '/etc/sudoers.d/20-gateway-log',
    );
    expect(all).toContain('maxseq=200');
    expect(all).not.toContain('log_input');
  });

  test("has a shell that closes when it is left, and keeps files from the world's eyes", async () => {
    const text = (await renderStage(system, { session_timeout: 60 })).text(
      '/etc/profile.d/50-gateway.sh',
    );
    const { stdout } = await run('sh', ['-c', `${text}\numask; echo $TMOUT`]);
    expect(stdout).toBe('0027\n60\n');
    expect(
      (await renderStage(system, { session_timeout: 0 })).text('/etc/profile.d/50-gateway.sh'),
    ).not.toContain('TMOUT');
  });
});

describe('updates', () => {
  const apt = async (given = {}) =>
    (await renderStage(system, given)).text('/etc/apt/apt.conf.d/52-gateway');

  test('that are turned off are not looked for either', async () => {
    expect(await apt()).toContain('APT::Periodic::Unattended-Upgrade "1";');
    const off = await apt({ automatic_updates: false });
    expect(off).toContain('APT::Periodic::Unattended-Upgrade "0";');
    expect(off).toContain('APT::Periodic::Update-Package-Lists "0";');
  });

  test('restart the device only in the window that is given', async () => {
    expect(await apt()).toContain('Automatic-Reboot "false";');
    const window = await apt({ reboot: '04:00' });
    expect(window).toContain('Automatic-Reboot "true";');
    expect(window).toContain('Automatic-Reboot-Time "04:00";');
  });

  test('apt reads the settings as they are meant', async () => {
    const { stdout } = await run(
      'sh',
      ['-c', 'f=$(mktemp); cat > "$f"; APT_CONFIG=$f apt-config dump; rm "$f"'],
      { input: await apt({ reboot: '04:00' }) },
    );
    expect(stdout).toContain('APT::Periodic::Unattended-Upgrade "1";');
    expect(stdout).toContain('APT::ExtractTemplates::TempDir "/var/cache/debconf";');
    expect(stdout).toContain('Unattended-Upgrade::Automatic-Reboot-Time "04:00";');
  });
});

describe('time', () => {
  test('is authenticated, of several operators; others only stand in; no port is open', async () => {
    const text = (await renderStage(system)).text('/etc/chrony/chrony.conf');
    expect(text.match(/^server \S+ iburst nts$/gm)?.length).toBeGreaterThanOrEqual(3);
    expect(text).toContain('server 0.debian.pool.ntp.org iburst\n');
    for (const line of [
      'authselectmode prefer',
      'port 0',
      'cmdport 0',
      'nocerttimecheck 1',
      'rtconutc',
    ])
      expect(text).toMatch(new RegExp(`^${line}$`, 'm'));
  });

  test('has one service, and the other goes', () => {
    expect(system.packages?.(options())).toContain('chrony');
    expect(system.purge?.(options())).toEqual(['systemd-timesyncd']);
    const small = options({ time: 'timesyncd' });
    expect(system.packages?.(small)).not.toContain('chrony');
    expect(system.services?.(small).enable).toContain('systemd-timesyncd');
    expect(system.purge?.(small)).toEqual(['chrony']);
  });
});

describe('audit', () => {
  test('each kind has its key, and changes of the rules need a restart', async () => {
    const files = await renderStage(system);
    const rules = files.text('/etc/audit/rules.d/30-gateway.rules');
    for (const key of [
      'identity',
      'time-change',
      'system-locale',
      'scope',
      'user_emulation',
      'kernel_modules',
      'mounts',
      'delete',
      'perm_mod',
      'access',
      'session',
      'logins',
      'MAC-policy',
      'usermod',
    ])
      expect(rules).toMatch(new RegExp(` -k ${key}$`, 'm'));
    expect(rules).toContain('-w /etc/passwd -p wa -k identity\n');
    expect(files.text('/etc/audit/rules.d/99-finalize.rules')).toMatch(/^-e 2$/m);
    expect(files.mode('/etc/audit/auditd.conf')).toBe(0o640);
  });

  test('rules name only system calls that arm64 has', async () => {
    const rules = (await renderStage(system)).text('/etc/audit/rules.d/30-gateway.rules');
    const calls = [...rules.matchAll(/-F arch=b64 (?:-C \S+ -F \S+ )?-S (\S+)/g)].flatMap(
      ([, list = '']) => list.split(','),
    );
    // asm-generic/unistd.h, which arm64 has, lacks these of other architectures.
    for (const name of ['open', 'creat', 'chmod', 'chown', 'lchown', 'rename', 'unlink', 'stime'])
      expect(calls).not.toContain(name);
    expect(calls).toContain('finit_module');
  });

  test('each setuid program has a rule; sudo and su have keys of their own', () => {
    expect(privilegedRules(['/usr/bin/sudo', '/usr/bin/chage', '/usr/bin/su'])).toMatch(
      /path=\/usr\/bin\/chage .* -k privileged\n.*\/usr\/bin\/su .* -k su\n.*\/usr\/bin\/sudo .* -k sudo\n$/,
    );
  });

  test('without auditd there is none', () => {
    expect(system.packages?.(options({ audit: false }))).not.toContain('auditd');
  });
});

describe('passwords', () => {
  test('login.defs is set where it stands, and comments stay', () => {
    const text = withLoginDefs(
      '# PASS_MAX_DAYS\tMaximum number of days\n#UMASK\nPASS_MAX_DAYS\t99999\nUID_MIN 1000\n',
    );
    expect(text).toContain('# PASS_MAX_DAYS\tMaximum number of days\n#UMASK\nPASS_MAX_DAYS\t365\n');
    expect(text).toContain('\nUID_MIN 1000\n');
    expect(text).toMatch(/\nUMASK\t027\n/);
    expect(withLoginDefs(text)).toBe(text);
  });

  test('that are old shut out nobody who comes with a key', async () => {
    const files = await renderStage(system);
    const profile = files.text('/usr/share/pam-configs/gateway-key-login');
    expect(profile).toContain('pam_unix.so no_pass_expiry');
    // Before Debian's own (256), whose answer for an old password would count.
    expect(Number(/^Priority: (\d+)$/m.exec(profile)?.[1])).toBeGreaterThan(256);
  });

  test('the failure counter stands before and behind the check of the password', async () => {
    const files = await renderStage(system);
    const priority = (name: string) =>
      Number(/^Priority: (\d+)$/m.exec(files.text(`/usr/share/pam-configs/${name}`))?.[1]);
    expect(priority('gateway-faillock-notify')).toBeGreaterThan(256);
    expect(priority('gateway-faillock')).toBeLessThan(256);
    // debconf takes a comma in a name for the end of it.
    for (const { path } of files.entries.filter((entry) => entry.path.includes('/pam-configs/')))
      expect(/^Name: (.*)$/m.exec(files.text(path))?.[1]).not.toContain(',');
    // libpam-pwquality's profile has 1024: it asks for the password that pwhistory then looks at.
    expect(priority('gateway-pwhistory')).toBeLessThan(1024);
  });
});

describe('AppArmor', () => {
  const here = (path: string) => ['/usr/sbin/chronyd', '/usr/bin/crun'].includes(path);
  const profile = (head: string) => `abi <abi/4.0>,\n${head} {\n  include <abstractions/base>\n}\n`;

  test('keeps what confines a program of the image', () => {
    expect(confines(profile('/usr/sbin/chronyd flags=(attach_disconnected)'), here)).toBe(true);
    expect(confines(profile('profile chronyd /usr/{bin,sbin}/chronyd'), here)).toBe(true);
  });

  test('leaves out what confines nothing, or a program that is not there', () => {
    for (const head of [
      'profile crun /usr/bin/crun flags=(unconfined)',
      'profile chronyd /usr/sbin/chronyd flags=(complain)',
      'profile Discord /usr/share/discord/Discord',
      'profile lsb_release',
    ])
      expect(confines(profile(head), here), head).toBe(false);
  });
});

test('a volatile journal goes to the card daily and at shutdown, not at boot', async () => {
  const services = system.services?.(options({ journal: 'volatile' }));
  expect(services?.mask).toContain('systemd-journal-flush.service');
  expect(services?.enable).toContain('pi-gateway-journal-save.timer');
  expect(system.services?.(options()).mask).not.toContain('systemd-journal-flush.service');
  expect(
    (await renderStage(system, { journal_size: '50M' })).text(
      '/etc/systemd/journald.conf.d/90-gateway.conf',
    ),
  ).toContain('SystemMaxUse=50M\n');
});

test('zram and watchdog can be turned off', async () => {
  const off = await renderStage(system, { zram: false, watchdog: false });
  expect(off.text('/etc/systemd/zram-generator.conf')).not.toContain('[zram0]');
  expect(off.text('/etc/systemd/system.conf.d/50-gateway.conf')).not.toContain('Watchdog');
  expect((await renderStage(system)).text('/etc/systemd/system.conf.d/50-gateway.conf')).toContain(
    'RuntimeWatchdogSec=15s',
  );
});

test('our own services are exposed at most 2.0 of 10 (systemd-analyze security)', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'pi-gateway-units-'));
  try {
    for (const entry of (await renderStage(system)).entries) {
      const unit = /\/systemd\/system\/([^/]+\.service)(?:\.d\/.*)?$/.exec(entry.path)?.[1];
      if (!unit || !('content' in entry)) continue;
      const path = join(
        folder,
        'etc/systemd/system',
        entry.path.split('/systemd/system/')[1] ?? '',
      );
      await mkdir(join(path, '..'), { recursive: true });
      await writeFile(path, entry.content);
    }
    const own = ['pi-gateway-journal', 'pi-gateway-journal-save', 'pi-gateway-integrity'];
    for (const name of own) {
      const { stdout } = await run(
        'systemd-analyze',
        ['security', '--offline=true', `--root=${folder}`, '--no-pager', `${name}.service`],
        { okCodes: [1] },
      );
      const score = Number(/exposure level for \S+: ([\d.]+)/.exec(stdout)?.[1]);
      expect(score, name).toBeLessThanOrEqual(2);
    }
  } finally {
    await rm(folder, { recursive: true });
  }
});

describe('the weekly comparison', () => {
  let folder = '';
  // The script with its folder, and a stand-in for aide(1) that ends with the code in a file.
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'pi-gateway-aide-'));
    const source = await readFile(
      join(project, 'overlays/system/usr/lib/pi-gateway/integrity'),
      'utf8',
    );
    await writeFile(
      join(folder, 'integrity'),
      source
        .replace('db=/var/lib/aide/aide.db', `db=${folder}/aide.db`)
        .replace('/usr/bin/aide', join(folder, 'aide')),
    );
    await writeFile(
      join(folder, 'aide'),
      `#!/bin/sh\necho "new $*" > ${folder}/aide.db.new\necho "changed: /etc/x"\nexit "$(cat ${folder}/code)"\n`,
    );
    await chmod(join(folder, 'aide'), 0o755);
  });
  afterAll(() => rm(folder, { recursive: true }));
  const compare = async (code: number) => {
    await writeFile(join(folder, 'code'), String(code));
    return await run('sh', [join(folder, 'integrity')], { okCodes: [17] });
  };
  const age = () => utimes(join(folder, 'aide.db'), 0, 0);

  test('takes the files as they are at first, then tells changes once a week', async () => {
    expect((await compare(0)).stdout).toContain('Took the system files');
    expect((await compare(4)).stdout).toContain('less than a week old');
    await age();
    // <5>: priority notice, for the journal (sd-daemon(3)).
    expect((await compare(4)).stdout).toContain('<5>changed: /etc/x');
    await age();
    expect((await compare(0)).stdout).toContain('No system file has changed');
  });

  test('keeps what it knew when aide fails', async () => {
    await age();
    expect((await compare(17)).exitCode).toBe(17);
    expect((await compare(17)).exitCode).toBe(17);
  });
});

test('bad options are refused', () => {
  for (const bad of [
    { hostname: 'a b' },
    { admin: 'Root!' },
    { timezone: 'Mars/Base' },
    { locale: 'en' },
    { journal_size: 'big' },
    { journal: 'ram' },
    { ntp: [] },
    { time: 'ntpd' },
    { reboot: '24:00' },
    { session_timeout: -1 },
  ])
    expect(system.options.safeParse(bad).success, JSON.stringify(bad)).toBe(false);
});
