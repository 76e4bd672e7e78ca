import { describe, expect, test } from 'vitest';
import { run } from '../../builder/exec.ts';
import { ssh } from '../ssh/stage.ts';
import { renderStage } from '../testing.ts';
import { wireguard } from '../wireguard/stage.ts';
import { firewall } from './stage.ts';

const all = { ssh: ssh.options.parse({}), wireguard: wireguard.options.parse({}) };

async function rules(options = {}, others: Record<string, unknown> = all): Promise<string> {
  return (await renderStage(firewall, options, others)).text('/etc/nftables.conf');
}

/** Loads the rules as the kernel would: nft(8) --check in a network namespace of its own. */
async function accepted(text: string): Promise<void> {
  await run('unshare', ['--net', '--map-root-user', 'nft', '--check', '--file', '-'], {
    input: text,
  });
}

describe('the ruleset', () => {
  test('drops what nothing opens, into the gateway and through it', async () => {
    const text = await rules();
    expect(text).toContain('type filter hook input priority filter; policy drop;');
    expect(text).toContain('type filter hook forward priority filter; policy drop;');
  });

  test('opens the ports of the stages that are there, and no others', async () => {
    expect(await rules()).toMatch(/tcp dport \{ 22 \} accept[\s\S]*udp dport \{ 51820 \} accept/);
    const bare = await rules({}, {});
    expect(bare).not.toContain('dport {');
    expect(bare).not.toContain('masquerade');
    expect(await rules({ open_tcp: [443], open_udp: [53] })).toMatch(
      /tcp dport \{ 22, 443 \}[\s\S]*udp dport \{ 51820, 53 \}/,
    );
  });

  test.each([
    ['all stages', {}, all],
    ['no other stage', {}, {}],
    [
      'every option',
      {
        open_tcp: [80, 443],
        open_udp: [53],
        trusted: ['192.168.1.0/24', 'fd00::/64'],
        log_drops: false,
      },
      all,
    ],
  ])('is valid for nft: %s', async (_, options, others) => {
    await accepted(await rules(options, others));
  });

  test('that is broken is refused by the same check', async () => {
    await expect(
      accepted((await rules()).replace('policy drop', 'policy maybe')),
    ).rejects.toThrow();
  });
});
