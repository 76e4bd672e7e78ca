import { describe, expect, test } from 'vitest';
import { changesOf, textDiff } from './diff.ts';
import { parseDeviceSettings, problemText } from './read.ts';
import { settingsSchema } from './schema.ts';
import { redactedData, redactedText, restoreSecrets } from './secrets.ts';
import { kept } from './view.ts';

const problemsOf = (text: string) => problemText(parseDeviceSettings(text).problems);

describe('the settings', () => {
  test('may be empty, or not there', () => {
    for (const text of ['', '\n', '# nothing\n', 'firewall: {}\n', '{}\n'])
      expect(parseDeviceSettings(text).problems).toEqual([]);
    expect(settingsSchema.parse({}).firewall.forwards).toEqual([]);
  });

  test.each([
    [
      'a key that is none, and what was meant',
      'updates:\n  rebot: never\n',
      "gateway.yaml:2:3: updates.rebot: is no setting. Did you mean 'reboot'?",
    ],
    [
      'a top-level key that is none',
      'firewal: {}\n',
      "gateway.yaml:1:1: firewal: is no setting. Did you mean 'firewall'?",
    ],
    [
      'a key inside a list',
      'firewall:\n  forwards:\n    - tcp: 443\n      too: 10.0.0.1\n',
      "Did you mean 'to'?",
    ],
    [
      'a value of another kind',
      'updates:\n  reboot: 4\n',
      "gateway.yaml:2:11: updates.reboot: must be never or a time, e.g. '04:30'",
    ],
    [
      'a port that is none',
      'firewall:\n  forwards:\n    - {tcp: 70000, to: 192.168.10.2}\n',
      'gateway.yaml:3:13: firewall.forwards.0.tcp: must be a port from 1 to 65535',
    ],
    [
      'both protocols',
      'firewall:\n  forwards:\n    - {tcp: 1, udp: 1, to: 192.168.10.2}\n',
      'firewall.forwards.0.udp: needs one port',
    ],
    [
      'families that do not meet',
      'firewall:\n  forwards:\n    - {tcp: 1, to: 192.168.10.2, from: "2001:db8::/32"}\n',
      'firewall.forwards.0.from: is of the other family',
    ],
    [
      'a name that would end a comment of nft',
      "firewall:\n  forwards:\n    - {tcp: 1, to: 192.168.10.2, name: 'x\" accept'}\n",
      'firewall.forwards.0.name: must be 1 to 40 of',
    ],
    ['a tab', 'updates:\n\treboot: never\n', 'gateway.yaml:2:1: is indented with a tab'],
    ['a key twice', 'updates: {}\nupdates: {}\n', 'gateway.yaml:2:1: is there twice'],
    ['an alias', 'updates: &a {}\nfirewall: *a\n', 'is an alias'],
    ['a list', '- updates\n', 'gateway.yaml:1:1: must be settings'],
    ['an open bracket', 'updates: {reboot: never\n', 'gateway.yaml:'],
    ['a value behind nothing', 'updates:\n  reboot:\n', 'updates.reboot: is empty'],
  ])('with %s are refused with place and remedy', (_, text, expected) => {
    expect(problemsOf(text)).toContain(expected);
  });

  test('that cannot be used leave all as usual', () => {
    expect(parseDeviceSettings('updates: {undo: false, rebot: x}').settings.updates.undo).toBe(
      true,
    );
  });
});

const withSecrets = `# Mine
alerts:
  channels:
    - type: mail
      host: smtp.example.org
      user: ann
      password: correct horse  # password: correct horse, of 2026
      from: ann@example.org
      to: [ann@example.org]
    # - {type: ntfy, topic: old-topic-7hk2, token: tk_old}
    - {type: ntfy, topic: attic-7hk2m9q4}
  heartbeat:
    url: >-
      https://hc-ping.com/0b1c2d3e
    every_minutes: 10
`;
const secrets = ['correct horse', 'attic-7hk2m9q4', '0b1c2d3e', 'tk_old', 'old-topic-7hk2'];

describe('secrets', () => {
  test('are in nothing that is shown, and all else is', () => {
    const text = redactedText(withSecrets);
    for (const one of secrets) expect(text).not.toContain(one);
    expect(text).toContain(`      password: ${kept}  # `);
    expect(text).toContain('smtp.example.org');
    expect(text).toContain('# Mine');
    const { settings } = parseDeviceSettings(withSecrets);
    const shown = JSON.stringify(redactedData(settings));
    for (const one of secrets) expect(shown).not.toContain(one);
    expect(shown).toContain('smtp.example.org');
    expect(parseDeviceSettings(withSecrets).problems).toEqual([]);
  });

  test('stay when their placeholders come back', () => {
    const back = restoreSecrets(redactedText(withSecrets), withSecrets);
    const [now, before] = [back, withSecrets].map((text) => parseDeviceSettings(text));
    expect(now?.problems).toEqual([]);
    expect(now?.written).toEqual(before?.written);
  });

  test('can be changed one by one', () => {
    const edited = redactedText(withSecrets).replace(
      `password: ${kept}`,
      'password: battery staple',
    );
    const back = restoreSecrets(edited, withSecrets);
    expect(changesOf(parse(withSecrets), parse(back))).toEqual([
      { key: 'alerts.channels.0.password', kind: 'changed', before: '(secret)', after: '(secret)' },
    ]);
    const diff = textDiff(withSecrets, back);
    expect(diff).toContain('-      password: (secret unchanged)');
    expect(diff).toContain('+      password: (secret changed)');
    for (const one of [...secrets, 'battery staple']) expect(diff).not.toContain(one);
  });

  test('follow their entry when the list is sorted anew', () => {
    const two = `alerts:
  channels:
    - {type: mail, name: a, host: a.example.org, user: u, password: secret-of-a, from: a@b.org, to: [a@b.org]}
    - {type: mail, name: b, host: b.example.org, user: u, password: secret-of-b, from: a@b.org, to: [a@b.org]}
`;
    const [head = '', key = '', a = '', b = ''] = redactedText(two).split('\n');
    const swapped = restoreSecrets([head, key, b, a, ''].join('\n'), two);
    expect(swapped).toMatch(/name: b,.*secret-of-b[\s\S]*name: a,.*secret-of-a/);
    const first = restoreSecrets([head, key, b, ''].join('\n'), two);
    expect(first).toContain('secret-of-b');
    expect(first).not.toContain('secret-of-a');
  });

  test.each([
    [
      'to another server',
      (text: string) => text.replace('smtp.example.org', 'smtp.attacker.example'),
    ],
    ['to another entry', (text: string) => text.replace('type: mail', 'type: mail\n      name: x')],
    [
      'where there was none',
      (text: string) => `${text}  quiet_hours: {from: '22:00', to: ${kept}x}\n  extra: ${kept}\n`,
    ],
  ])('do not go %s', (_, edit) => {
    expect(() => restoreSecrets(edit(redactedText(withSecrets)), withSecrets)).toThrow(
      /is '\(secret unchanged\)', but/,
    );
  });

  test('under a misspelled key are not shown, either', () => {
    const text = withSecrets.replace('password:', 'pasword:');
    expect(parseDeviceSettings(text).problems).not.toEqual([]);
    for (const one of secrets) expect(redactedText(text)).not.toContain(one);
    expect(redactedText('alerts: hunter22\n')).not.toContain('hunter22');
    expect(redactedText('alerts: {channels: [hunter22\n')).not.toContain('hunter22');
  });

  test('that are usual words leave the rest of the text as it is', () => {
    const text = withSecrets.replaceAll('correct horse', 'password');
    const back = restoreSecrets(redactedText(text), text);
    expect(parse(back)).toEqual(parse(text));
  });
});

const parse = (text: string) => parseDeviceSettings(text).written;

describe('a comparison', () => {
  test('names what is added, removed and changed by dotted key', () => {
    const before =
      'updates: {reboot: never, automatic: all}\nfirewall: {forwards: [{tcp: 1, to: 10.66.0.9}]}\n';
    const after =
      "updates: {reboot: '04:00'}\nfirewall: {forwards: [{tcp: 1, to: 10.66.0.9}, {udp: 2, to: 10.66.0.9}]}\n";
    expect(changesOf(parse(before), parse(after))).toEqual([
      { key: 'updates.reboot', kind: 'changed', before: 'never', after: '04:00' },
      { key: 'updates.automatic', kind: 'removed', before: 'all', after: undefined },
      { key: 'firewall.forwards.1.udp', kind: 'added', before: undefined, after: 2 },
      { key: 'firewall.forwards.1.to', kind: 'added', before: undefined, after: '10.66.0.9' },
    ]);
    expect(changesOf(parse(after), parse(`# other words\n${after}`))).toEqual([]);
  });

  test('of texts shows the lines around a change, as diff -u does', () => {
    const before = Array.from({ length: 12 }, (_, i) => `# ${i}`).join('\n');
    const after = before.replace('# 1\n', '').replace('# 9', '# nine');
    expect(textDiff(before, after)).toBe(
      [
        '--- in force',
        '+++ new',
        '@@ -1,5 +1,4 @@',
        ' # 0',
        '-# 1',
        ' # 2',
        ' # 3',
        ' # 4',
        '@@ -7,6 +6,6 @@',
        ' # 6',
        ' # 7',
        ' # 8',
        '-# 9',
        '+# nine',
        ' # 10',
        ' # 11',
        '',
      ].join('\n'),
    );
    expect(textDiff(before, before)).toBe('');
  });
});
