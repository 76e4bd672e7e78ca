/** Where a control of the benchmark is wrong for a gateway, and why. Published in docs/compliance.md. */
export type Tailoring = {
  reason: string;
  /**
   * What the control checks here in place of the benchmark's demand; then it counts. Without, the
   * control is left out of the score.
   */
  instead?: string;
};

const partition = {
  reason:
    'The SD card has one root partition that grows to the card; fixed partitions would waste it, or fill up and stop the gateway. The journal and audit logs are bounded by their own limits.',
};
const forwarding = {
  reason:
    'Forwarding is what a gateway is for. What may pass is decided by the firewall, whose forward chain drops by default (4.3.8).',
};
const ufw = {
  reason:
    'nftables is the firewall here, with one ruleset for IPv4 and IPv6; ufw would be a second one beside it. Its controls are 4.3.1 to 4.3.10, after the Debian 12 edition.',
};
const logHost = {
  reason:
    'A home or small office has no log host to send to; where one is there, the owner sets it up. That nothing is received from others is checked (6.1.1.2.4).',
};
const output =
  'The traffic of the gateway itself (updates, time, DNS, tunnels, dynamic DNS) goes to addresses that change; a list of them breaks, and the sandbox of each service limits it better.';

export const tailoring: Readonly<Record<string, Tailoring>> = {
  '1.1.1.6': {
    reason:
      'Containers lie on overlayfs, and so does a read-only root file system. Unprivileged use is limited by the policy for user namespaces.',
  },
  '1.1.2.3.1': partition,
  '1.1.2.4.1': partition,
  '1.1.2.5.1': partition,
  '1.1.2.6.1': partition,
  '1.1.2.7.1': partition,
  '1.3.1.1': {
    reason:
      'apparmor-utils are programs for writing profiles; what loads and enforces them is in apparmor, with aa-status.',
    instead: 'the package apparmor alone',
  },
  '1.4.1': {
    reason:
      'The firmware of a Raspberry Pi has no password: who holds the SD card can change anything on it. There is no GRUB.',
  },
  '1.4.2': {
    reason: 'There is no GRUB; what the firmware boots lies on the FAT partition.',
    instead: 'that partition is mounted so that only root reads and writes it',
  },
  '3.3.1.1': forwarding,
  '3.3.1.2': forwarding,
  '3.3.1.3': forwarding,
  '3.3.2.1': forwarding,
  '3.3.2.2': forwarding,
  '4.1.1': ufw,
  '4.1.2': ufw,
  '4.1.3': ufw,
  '4.1.4': ufw,
  '4.1.5': ufw,
  '4.3.5': { reason: output, instead: 'base chains at the hooks input and forward' },
  '4.3.8': { reason: output, instead: 'policy drop at the hooks input and forward' },
  '5.2.4': {
    reason:
      'No account has a password, so sudo has none to ask for; the SSH key is what one must have. A password only for sudo would be typed over the same session.',
    instead: 'NOPASSWD only for accounts whose password is locked',
  },
  '6.1.1.2.1': logHost,
  '6.1.1.2.2': logHost,
  '6.1.1.2.3': logHost,
  '6.2.1.1': {
    reason:
      'audispd-plugins send records to other machines and directories, of which there are none (6.1.1.2.1).',
    instead: 'the package auditd alone',
  },
  '6.2.2.2': {
    reason: 'Logs that are never deleted fill the SD card and stop the gateway.',
    instead: 'old logs are rotated, and at least four are kept',
  },
  '6.2.2.3': {
    reason:
      'A gateway that halts when its log is full takes the whole network down: whoever can fill the log could do that at will.',
    instead:
      'the actions are not to ignore or suspend: at least syslog, from where alerts are sent',
  },
  '6.2.2.4': {
    reason: 'There is no mail server, and a halt would take the network down (6.2.2.3).',
    instead: 'little space is told at least to syslog, from where alerts are sent',
  },
  '6.3.1': {
    reason:
      'aide-common brings a daily run and mail to root, and there is no mail here; the gateway has a timer of its own (6.3.2).',
    instead: 'the package aide alone',
  },
};
