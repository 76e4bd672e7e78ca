import { describe, expect, test } from 'vitest';
import { announcedIn, remember } from './announced.ts';

const print = 'SHA256:mVPwvezndPv/ARoIadVY98vAC0g+P/5633yTC4d/wXE';
const key = 'xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg=';

describe('what a device announces', () => {
  test('is read from its card on a console with colours and carriage returns', () => {
    const console = [
      '\x1b[0;32m  OK  \x1b[0m Reached target',
      'Pi Gateway\r',
      `  SSH host key:   ${print} (ED25519)\r`,
      `  SSH host key:   ${print.replace('mV', 'xx')} (RSA)\r`,
      `\x1b[1m  WireGuard key:  ${key}\x1b[0m\r`,
      '  claim code:     0123-4567-89AB-CDEF\r',
      '  → Log in: ssh gateway@attic\r',
      '',
    ].join('\n');
    expect(Object.fromEntries(announcedIn(console))).toEqual({
      'SSH host key (ED25519)': `${print} (ED25519)`,
      'SSH host key (RSA)': `${print.replace('mV', 'xx')} (RSA)`,
      'WireGuard key': key,
      'claim code': '0123-4567-89AB-CDEF',
    });
  });

  test('is nothing where the power was cut in the middle of a line, or another message ran into it', () => {
    for (const text of [
      `  WireGuard key:  ${key}`,
      `  WireGuard key:  ${key.slice(0, 20)}\n`,
      `  WireGuard key:  ${key.slice(0, 20)}[   12.3] EXT4-fs: mounted\n`,
      `  SSH host key:   ${print}\n`,
      'claim code: later\n',
    ])
      expect([...announcedIn(text)], text).toEqual([]);
  });

  test('must stay: another value for the same name is told, a new name is not', () => {
    const known = announcedIn(`WireGuard key: ${key}\n`);
    expect(remember(known, announcedIn(`WireGuard key: ${key}\n`))).toEqual([]);
    expect(remember(known, announcedIn('claim code: 0123-4567-89AB-CDEF\n'))).toEqual([]);
    const other = key.replace('xT', 'yT');
    expect(remember(known, announcedIn(`WireGuard key: ${other}\n`))).toEqual([
      `WireGuard key was announced as ${key} and is now ${other}`,
    ]);
    expect(known.get('claim code')).toBe('0123-4567-89AB-CDEF');
  });
});
