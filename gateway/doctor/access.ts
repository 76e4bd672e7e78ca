import { firewallStatus } from '../firewall/status.ts';
import { readPorts } from '../services/units.ts';
import { AdminKeys, findAccount } from '../ssh/admin-keys.ts';
import { isKey, isValid } from '../ssh/authorized-keys.ts';
import { type Examination, failed, ok, warning } from './examination.ts';

const firewall: Examination = {
  id: 'firewall',
  title: 'Firewall',
  run: async ({ system }) => {
    const { state, pending } = await firewallStatus(system);
    const ports = await readPorts(system);
    const open = ports
      .filter(({ zones }) => zones.includes('wan'))
      .map(({ name, port, protocol }) => `${port}/${protocol} (${name})`);
    switch (state) {
      case 'none':
        return failed(
          'There are no rules',
          'Every port of the device is open to the internet, and nothing is forwarded safely',
          'Load them: sudo systemctl restart nftables; see why they were gone: sudo pi-gateway logs firewall',
        );
      case 'closed':
        return failed(
          '/etc/nftables.conf did not load: only SSH and WireGuard are open',
          'Nothing passes through the gateway',
          'See the mistake: sudo nft --check --file /etc/nftables.conf; or return to the rules of before: sudo pi-gateway firewall rollback',
        );
      case 'pending':
        return warning(
          `Rules are on trial for ${pending?.seconds_left} s more`,
          'Then the rules of before return',
          'Keep them: sudo pi-gateway firewall confirm',
        );
      default:
        return ok(`Its rules are in force; open to the internet: ${open.join(', ') || 'nothing'}`);
    }
  },
};

const sshd: Examination = {
  id: 'ssh-config',
  title: 'SSH settings',
  run: async ({ system }) => {
    try {
      await system.run('sshd', ['-t']);
      return ok('sshd takes them');
    } catch (error) {
      return failed(
        error instanceof Error ? error.message : String(error),
        'After the next restart nobody gets in by SSH',
        'Mend the file that it names, below /etc/ssh',
      );
    }
  },
};

const adminKeys: Examination = {
  id: 'ssh-keys',
  title: 'Keys that get in',
  run: async ({ system, now }) => {
    const account = await findAccount(system, undefined, undefined);
    const date = new Date(now());
    const lines = await new AdminKeys(system, account, date).lines();
    const keys = lines.filter(isKey);
    const valid = keys.filter((key) => isValid(key, date));
    if (valid.length === 0)
      return failed(
        `No key lets ${account.name} in`,
        'There are no passwords: once this session ends, nobody gets in',
        'Add one now: sudo pi-gateway ssh keys add laptop.pub',
      );
    return valid.length === 1
      ? ok(`One key lets ${account.name} in; a second one helps when the first is lost`)
      : ok(`${valid.length} keys let ${account.name} in`);
  },
};

export const accessExaminations: readonly Examination[] = [firewall, sshd, adminKeys];
