import { describe, expect, test } from 'vitest';
import { firmwareFiles } from './firmware.ts';

describe('what the firmware would load', () => {
  test("is what Debian's config.txt names", () => {
    const config =
      '# Do not modify\narm_64bit=1\nkernel=vmlinuz-6.12\n# initramfs old\ninitramfs initrd.img-6.12\n';
    expect(firmwareFiles(config, 'pi3')).toEqual({
      kernel: 'vmlinuz-6.12',
      initramfs: 'initrd.img-6.12',
      commandLine: 'cmdline.txt',
    });
  });

  test('is kernel8.img with its initramfs on Raspberry Pi OS', () => {
    const config = 'arm_64bit=1\nauto_initramfs=1\n[cm5]\ndtoverlay=dwc2\n[all]\n';
    expect(firmwareFiles(config, 'pi3')).toMatchObject({
      kernel: 'kernel8.img',
      initramfs: 'initramfs8',
    });
  });

  test('comes from the sections of the board and of all boards only', () => {
    const config =
      '[pi5]\nkernel=five\n[pi3]\nkernel=three\n[pi4]\nkernel=four\n[gpio4=1]\nkernel=pin\n[all]\ncmdline=other.txt\n';
    expect(firmwareFiles(config, 'pi3')).toMatchObject({
      kernel: 'three',
      commandLine: 'other.txt',
    });
    expect(firmwareFiles(config, 'pi4').kernel).toBe('four');
    expect(firmwareFiles('[pi5]\nkernel=five\n', 'pi4').kernel).toBe('kernel8.img');
  });

  test('has no initramfs unless config.txt asks for one', () => {
    expect(firmwareFiles('arm_64bit=1\n', 'pi4').initramfs).toBe('');
    expect(firmwareFiles('auto_initramfs=1\nauto_initramfs=0\n', 'pi4').initramfs).toBe('');
  });
});
