import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest';
import { output } from '../../builder/exec.ts';
import { changeBootPartition, withBootPartition } from '../../builder/qemu/card.ts';
import { adminUser, bootSeconds, ownerFile } from '../../builder/qemu/harness-facts.ts';
import { makeSshKey, type SshKey, ssh, waitForSsh } from '../../builder/qemu/ssh.ts';
import { startVm, type Vm } from '../../builder/qemu/vm.ts';
import { cloudInit, hash, key as keyOfSample, rpi } from '../../firstboot/imager/samples.ts';

const minutes = (count: number) => ({ timeout: count * 60_000 });
let key: SshKey;
beforeAll(async () => {
  key = await makeSshKey();
});
afterAll(() => key.remove());

/** gateway-status.txt of a card whose VM has ended. */
async function statusOf(directory: string): Promise<string> {
  return await withBootPartition(directory, (partition) =>
    output('mtype', ['-i', partition, '::gateway-status.txt']),
  );
}

test(
  'without a key, or with a mistake in its file, the device stays closed and says what to mend; mended, it completes',
  minutes(30),
  async () => {
    const start = (reuse?: string) =>
      startVm({
        image: inject('image'),
        diskSize: '4G',
        forwards: { 22: 0 },
        ...(reuse === undefined ? {} : { reuse }),
      });
    let vm: Vm = await start();
    onTestFinished(() => vm.stop());

    await vm.waitForConsole('No SSH key of an admin was given', bootSeconds);
    await vm.waitForConsole(/first boot is not complete[\s\S]* login: /, bootSeconds);
    await vm.powerCut();
    expect(await statusOf(vm.directory)).toContain('No SSH key of an admin was given');

    const file = Object.values(ownerFile(key.publicKey))[0] ?? '';
    await changeBootPartition(vm.directory, {
      'gateway-device.yaml': `hostnam: attic\n${file}`,
    });
    vm = await start(vm.directory);
    const mistake = "gateway-device.yaml:1:1: hostnam: is no setting. Did you mean 'hostname'?";
    await vm.waitForConsole(mistake, bootSeconds);
    await vm.waitForConsole(/first boot is not complete[\s\S]* login: /, bootSeconds);
    const target = { user: adminUser, port: vm.ports[22] ?? 0, key };
    await expect(ssh(target, 'true', 60)).rejects.toThrow();
    await vm.powerCut();
    expect(await statusOf(vm.directory)).toContain(mistake);

    await changeBootPartition(vm.directory, { 'gateway-device.yaml': `hostname: attic\n${file}` });
    vm = await start(vm.directory);
    const mended = { ...target, port: vm.ports[22] ?? 0 };
    await vm.whileRunning(waitForSsh(mended, bootSeconds));
    expect((await ssh(mended, 'hostname')).trim()).toBe('attic');
    expect(await ssh(mended, 'sudo cat /boot/firmware/gateway-status.txt')).toContain(
      'first boot is complete',
    );
    await ssh(mended, 'sudo sync');
  },
);

describe("a card with Raspberry Pi Imager's customisation (cloudinit, cloudinit-rpi)", () => {
  const password = randomUUID();
  let vm: Vm;
  const target = () => ({ user: 'kim', port: vm.ports[22] ?? 0, key });
  const root = (command: string) =>
    ssh(target(), `sudo -S -p '' ${command}`, 240, Buffer.from(`${password}\n`));

  beforeAll(
    async () => {
      const own = (await output('openssl', ['passwd', '-6', '-stdin'], { input: password })).trim();
      vm = await startVm({
        image: inject('image'),
        diskSize: '4G',
        forwards: { 22: 0 },
        bootFiles: {
          'meta-data': cloudInit['meta-data'],
          'network-config': cloudInit['network-config'],
          'user-data': `${cloudInit['user-data']}${rpi}`
            .replace(keyOfSample, key.publicKey)
            .replace(hash, own)
            .replace('timezone:', 'locale: "de_DE.UTF-8"\ntimezone:'),
        },
      });
      await vm.whileRunning(waitForSsh(target(), bootSeconds));
    },
    2 * bootSeconds * 1000,
  );
  afterAll(() => vm?.stop());

  test('has its host name, and its user with key, password and sudo', async () => {
    expect((await ssh(target(), 'hostname')).trim()).toBe('attic');
    expect((await root('whoami')).trim()).toBe('root');
  });

  test('has its time zone, keyboard and locale', async () => {
    expect(await ssh(target(), 'readlink /etc/localtime')).toContain('/Europe/Berlin');
    expect(await ssh(target(), 'cat /etc/default/keyboard')).toContain('XKBLAYOUT="de"');
    expect(await ssh(target(), 'locale 2>&1')).toMatch(/^LC_TIME="?de_DE\.UTF-8"?$/m);
  });

  test('has its Wi-Fi, which waits for the radio', async () => {
    const file = '/etc/wpa_supplicant/wpa_supplicant-wlan0.conf';
    const text = await root(`cat ${file}`);
    expect(text).toContain('country=DE');
    expect(text).toContain(`ssid=${Buffer.from('Café').toString('hex')}`);
    expect((await ssh(target(), 'systemctl is-enabled wpa_supplicant@wlan0 || true')).trim()).toBe(
      'enabled',
    );
    expect(
      await ssh(
        target(),
        'ls /etc/systemd/system/sys-subsystem-net-devices-wlan0.device.wants/ && systemctl --failed --no-legend --plain',
      ),
    ).toBe('wpa_supplicant@wlan0.service\n');
  });

  test('has nothing of it left on its boot partition, and tells what it did not use', async () => {
    const files = await root('ls /boot/firmware');
    for (const name of ['user-data', 'network-config', 'meta-data'])
      expect(files.split('\n')).not.toContain(name);
    const status = await root('cat /boot/firmware/gateway-status.txt');
    expect(status).toContain('first boot is complete');
    expect(status).toMatch(
      /Raspberry Pi Imager: .*is not used|Raspberry Pi Imager: .*are not used/,
    );
  });
});
