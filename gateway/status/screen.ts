import { bytes, type Paint, span, table } from '../terminal.ts';
import type { Status } from './status.ts';

const colours = { ok: 'green', warning: 'yellow', failed: 'red' } as const;
const words = { ok: 'OK', warning: 'WARNING', failed: 'FAILED' } as const;

/** Lines that are shown of what is not well; the rest is in --json and the dashboard. */
const mostFindings = 8;

/** The status as one screen of 80 columns, where the texts allow it. */
export function screen(status: Status, paint: Paint): string {
  const { health } = status;
  const shown = health.findings.slice(0, mostFindings);
  return [
    `${paint('bold', status.name)}  ${paint(colours[health.state], words[health.state])}${health.state === 'ok' ? '  all is well' : ''}`,
    ...shown.map(
      ({ state, text }) =>
        `  ${paint(colours[state], state === 'failed' ? 'FAIL' : 'WARN')}  ${text.replaceAll('\n', ' ')}`,
    ),
    ...(health.findings.length > shown.length
      ? [`        and ${health.findings.length - shown.length} more: pi-gateway status --json`]
      : []),
    '',
    table(rows(status), '  '),
  ].join('\n');
}

function rows(status: Status): string[][] {
  const { alerts, memory, disk, updates } = status;
  const firing = alerts.critical + alerts.warning + alerts.info;
  return [
    ['Device', [status.model, status.device_id].filter(Boolean).join(', ') || 'unknown'],
    ...(status.image
      ? [
          [
            'Image',
            `${status.image.name}${status.image.built ? ` of ${status.image.built.slice(0, 10)}` : ''}${status.image.base ? `, ${status.image.base}` : ''}`,
          ],
        ]
      : []),
    [
      'Up',
      `${span(status.uptime_seconds)}, load ${status.load.map((one) => one.toFixed(2)).join(' ')} on ${status.cpus} ${status.cpus === 1 ? 'core' : 'cores'}`,
    ],
    [
      'Clock',
      `${status.time.slice(0, 19).replace('T', ' ')} UTC, ${{ true: 'right', false: 'WRONG', null: 'not compared yet' }[String(status.synchronized)]}`,
    ],
    ['Memory', `${used(memory)} of ${bytes(memory.total_bytes)} in use`],
    [
      'Disk',
      `${used(disk)} of ${bytes(disk.total_bytes)} in use, ${bytes(disk.available_bytes)} free`,
    ],
    ...(status.temperature_celsius === null
      ? []
      : [['Heat', `${status.temperature_celsius.toFixed(0)} °C`]]),
    ...status.addresses.map(({ zone, interface: name, addresses }) => [
      `Net ${zone}`,
      `${name}  ${addresses.join('  ')}`,
    ]),
    [
      'VPN',
      status.vpn
        ? `${status.vpn.connected} of ${status.vpn.total} ${status.vpn.total === 1 ? 'client' : 'clients'} connected`
        : 'off',
    ],
    ['Name', status.ddns ? status.ddns.summary : 'no dynamic DNS'],
    ['Firewall', firewallWords[status.firewall]],
    [
      'Updates',
      [
        updates.pending === null
          ? 'not counted yet'
          : updates.pending === 0
            ? 'none waits'
            : `${updates.pending} ${updates.pending === 1 ? 'waits' : 'wait'}: pi-gateway update`,
        ...(updates.reboot_required ? ['a restart is due'] : []),
      ].join(', '),
    ],
    ['Alerts', firing === 0 ? 'none' : `${firing}, of them ${alerts.critical} critical`],
    ...status.dashboard.map(({ zone, url }) => ['Dashboard', `${url} (${zone})`]),
    ...(status.claimed
      ? []
      : [['Dashboard', 'has no owner yet; the claim code is on the console']]),
  ];
}

const firewallWords: Record<Status['firewall'], string> = {
  active: 'in force',
  pending: 'rules on trial: pi-gateway firewall confirm',
  closed: 'CLOSED but for SSH and WireGuard: its rules did not load',
  none: 'NO RULES: the device is open',
  unknown: 'not known',
};

function used({ total_bytes: total, available_bytes: available }: Status['memory']): string {
  return total === 0 ? 'unknown' : `${Math.round((1 - available / total) * 100)} %`;
}
