import { expect, test } from 'vitest';
import { withoutSetting, withSetting } from './edit.ts';
import { parseDeviceSettings } from './read.ts';

const text = `# Mine
updates:
  reboot: never # at night
firewall:
  forwards:
    # web
    - {tcp: 443, to: 192.168.10.20}
`;

test.each([
  ['a value that is there', 'updates.reboot', '04:30', 'updates:\n  reboot: 04:30 # at night\n'],
  ['one that is not', 'updates.automatic', 'all', '# at night\n  automatic: all\n'],
  ['an area that is not there', 'alerts.hooks', 'false', '\nalerts:\n  hooks: false\n'],
  ['an entry of a list', 'firewall.forwards.0.to', '192.168.10.21', 'to: 192.168.10.21'],
  [
    'a further one',
    'firewall.forwards.1',
    '{udp: 5, to: 192.168.10.5}',
    '    - { udp: 5, to: 192.168.10.5 }\n',
  ],
])('set: %s', (_, key, value, expected) => {
  const next = withSetting(text, key, value);
  expect(next).toContain(expected);
  expect(next).toMatch(/^# Mine\n[\s\S]* {4}# web\n/);
  expect(parseDeviceSettings(next).problems).toEqual([]);
});

test.each([
  ['the first setting of all', '', 'updates.reboot', 'updates:\n  reboot: never\n'],
  ['behind a key without value', 'updates:\n', 'updates.reboot', 'updates:\n  reboot: never\n'],
  ['the first entry of a list', '', 'firewall.forwards.0', 'firewall:\n  forwards:\n    - never\n'],
])('set: %s', (_, before, key, expected) => {
  expect(withSetting(before, key, 'never')).toBe(expected);
});

test.each([
  ['below a value', 'updates.reboot.at', 'x', 'updates.reboot is a value'],
  ['past the end of a list', 'firewall.forwards.7', 'x', 'has 1 entries, so the next one is 1'],
  ['without a key', 'updates..reboot', 'x', 'is no key'],
  ['what is no YAML', 'updates.reboot', '{a: ', 'is no YAML'],
  ['nothing', 'updates.reboot', '', 'is no YAML'],
])('set %s is refused', (_, key, value, message) => {
  expect(() => withSetting(text, key, value)).toThrow(message);
});

test('unset takes a setting out, and tells of one that is not there', () => {
  expect(withoutSetting(text, 'firewall')).toBe('# Mine\nupdates:\n  reboot: never # at night\n');
  expect(withoutSetting(text, 'updates.reboot')).toContain('updates: {}\n');
  expect(() => withoutSetting(text, 'updates.time')).toThrow('updates.time is not set');
});
