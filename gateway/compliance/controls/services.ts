import { type Body, type Control, fail, judge, l1, l2, none, notApplicable } from '../control.ts';
import { dropIns, type Facts, readIfThere, settings } from '../facts.ts';
import { access, ifInstalled, packageAbsent, review, serviceUnused, unitRuns } from '../kinds.ts';
import { groupId } from '../state/accounts.ts';
import { listening } from '../state/network.ts';
import { packages } from '../state/packages.ts';
import { unit } from '../state/units.ts';
import { systemdSetting } from './setup.ts';

const mailPorts = [25, 465, 587];

const mailLocalOnly: Body = {
  title: 'No mail server listens to the network',
  checks: 'nothing listens on TCP 25, 465, 587 but on loopback (/proc/net/tcp, tcp6)',
  mend: 'Set the mail server to local delivery (dpkg-reconfigure exim4-config), or purge it',
  check: (facts) =>
    none(
      listening(facts)
        .filter((one) => one.protocol === 'tcp' && mailPorts.includes(one.port) && !one.loopback)
        .map((one) => `TCP ${one.port} on ${one.address}`),
      'nothing listens on TCP 25, 465, 587 to the network',
    ),
};

const listeners = (facts: Facts): string =>
  [
    ...new Set(
      listening(facts)
        .filter((one) => !one.loopback)
        .map((one) => `${one.protocol}/${one.port}`),
    ),
  ].join(' ') || 'nothing listens to the network';

const chronyUnit = 'chrony.service';
const timesyncdUnit = 'systemd-timesyncd.service';
const otherTime = ['ntpsec.service', 'ntp.service', 'openntpd.service'];

const oneTimeDaemon: Body = {
  title: 'Exactly one service keeps the time',
  units: [chronyUnit, timesyncdUnit, ...otherTime],
  checks: `one of ${chronyUnit} and ${timesyncdUnit} is enabled (and active), and no other`,
  mend: 'apt-get install chrony (Debian then removes systemd-timesyncd)',
  check: (facts) => {
    const used = [chronyUnit, timesyncdUnit, ...otherTime]
      .map((name) => unit(facts, name))
      .filter((one) => one.active ?? one.enabled.startsWith('enabled'));
    const names = used.map((one) => one.name);
    return judge(
      names.length === 1 && !otherTime.includes(names[0] ?? ''),
      names.length ? names.join(', ') : 'no service keeps the time',
    );
  },
};

const ifTimesyncd = (body: Body): Body => ({
  ...body,
  check: (facts) =>
    packages(facts).has('chrony') ? notApplicable('chrony keeps the time') : body.check(facts),
});

const timesyncdServers: Body = {
  title: 'systemd-timesyncd asks servers that were chosen',
  checks:
    'NTP= or FallbackNTP= in /etc/systemd/timesyncd.conf or its drop-ins; if chrony is not installed',
  mend: 'In /etc/systemd/timesyncd.conf.d: [Time] NTP=…',
  check: (facts) => {
    const servers = ['NTP', 'FallbackNTP'].map((key) =>
      systemdSetting(facts, 'timesyncd.conf', key),
    );
    return judge(servers.some(Boolean), `NTP=${servers[0] ?? ''}; FallbackNTP=${servers[1] ?? ''}`);
  },
};

function chronyLines(facts: Facts): string[] {
  const paths = [
    '/etc/chrony/chrony.conf',
    ...dropIns(facts, ['/etc/chrony/conf.d'], '.conf'),
    ...dropIns(facts, ['/etc/chrony/sources.d'], '.sources'),
  ];
  return paths
    .flatMap((path) => settings(readIfThere(facts, path) ?? ''))
    .filter((line) => !/^[!;%]/.test(line));
}

const chronyServers: Body = ifInstalled(['chrony'], {
  title: 'chrony asks servers that were chosen',
  checks:
    'server or pool lines in /etc/chrony/chrony.conf, conf.d or sources.d; if chrony is installed',
  mend: "In /etc/chrony/sources.d/*.sources: 'server … iburst nts'",
  check: (facts) => {
    const sources = chronyLines(facts).filter((line) => /^(server|pool)\s/.test(line));
    return judge(sources.length > 0, sources.join('; ') || 'no server and no pool');
  },
});

const chronyUser: Body = ifInstalled(['chrony'], {
  title: 'chrony runs as a user of its own',
  checks:
    '`user` in its files is _chrony, or not set: Debian builds chrony with _chrony; if chrony is installed',
  mend: "Take 'user' out of /etc/chrony/chrony.conf and conf.d",
  check: (facts) => {
    const text = chronyLines(facts);
    if (text.length === 0) return fail('/etc/chrony/chrony.conf says nothing');
    const user = text.findLast((line) => /^user\s/.test(line));
    return judge(
      user === undefined || /^user\s+_chrony$/.test(user),
      user ?? "user _chrony (Debian's default)",
    );
  },
});

const cron = (body: Body): Body => ifInstalled(['cron', 'cronie'], body);

/** cron.allow(5) or at.allow(5): only users who are named may. */
function allowList(name: 'cron' | 'at', packageNames: readonly string[], group: string): Body {
  const [allow, deny] = [`/etc/${name}.allow`, `/etc/${name}.deny`];
  return ifInstalled(packageNames, {
    title: `Only users who are named use ${name}`,
    checks: `${allow} is there (owner root, group root or ${group}, mode at most 0640), and ${deny} is not or is as strict; if ${packageNames[0]} is installed`,
    mend: `touch ${allow}; chmod 0640 ${allow}; rm -f ${deny}`,
    check: (facts) => {
      const stat = facts.tree.stat(allow);
      if (!stat) return fail(`${allow} is not there`);
      const groups = [0, groupId(facts, group)];
      const bad = (['allow', 'deny'] as const).flatMap((kind) => {
        const one = facts.tree.stat(`/etc/${name}.${kind}`);
        return one && (one.mode & ~0o640 || one.uid !== 0 || !groups.includes(one.gid))
          ? [`/etc/${name}.${kind}: ${one.mode.toString(8)} ${one.uid}:${one.gid}`]
          : [];
      });
      return none(bad, `${allow}: ${stat.mode.toString(8)}`);
    },
  });
}

const client = (title: string, ...names: string[]) => packageAbsent(names, title);

/** Chapter 2: services. */
export const services: readonly Control[] = [
  l1('2.1.1', serviceUnused('autofs mounts nothing', ['autofs'], ['autofs.service'])),
  l1(
    '2.1.2',
    serviceUnused(
      'avahi announces nothing',
      ['avahi-daemon'],
      ['avahi-daemon.service', 'avahi-daemon.socket'],
    ),
  ),
  l1(
    '2.1.3',
    serviceUnused(
      'There is no DHCP server',
      ['isc-dhcp-server', 'kea-dhcp4-server', 'kea-dhcp6-server'],
      [
        'isc-dhcp-server.service',
        'isc-dhcp-server6.service',
        'kea-dhcp4-server.service',
        'kea-dhcp6-server.service',
      ],
    ),
  ),
  l1(
    '2.1.4',
    serviceUnused(
      'There is no DNS server',
      ['bind9', 'unbound', 'pdns-server', 'pdns-recursor', 'knot'],
      ['named.service', 'unbound.service', 'pdns.service', 'pdns-recursor.service', 'knot.service'],
    ),
  ),
  l1('2.1.5', serviceUnused('dnsmasq is not used', ['dnsmasq'], ['dnsmasq.service'])),
  l1(
    '2.1.6',
    serviceUnused(
      'There is no FTP server',
      ['vsftpd', 'proftpd-core', 'pure-ftpd'],
      ['vsftpd.service', 'proftpd.service', 'pure-ftpd.service'],
    ),
  ),
  l1('2.1.7', serviceUnused('There is no LDAP server', ['slapd'], ['slapd.service'])),
  l1(
    '2.1.8',
    serviceUnused(
      'There is no IMAP or POP3 server',
      ['dovecot-imapd', 'dovecot-pop3d'],
      ['dovecot.socket', 'dovecot.service'],
    ),
  ),
  l1(
    '2.1.9',
    serviceUnused('There is no NFS server', ['nfs-kernel-server'], ['nfs-server.service']),
  ),
  l1('2.1.10', serviceUnused('There is no NIS server', ['ypserv'], ['ypserv.service'])),
  l1(
    '2.1.11',
    serviceUnused(
      'There is no print server',
      ['cups', 'cups-daemon'],
      ['cups.service', 'cups.socket'],
    ),
  ),
  l1(
    '2.1.12',
    serviceUnused('rpcbind is not used', ['rpcbind'], ['rpcbind.service', 'rpcbind.socket']),
  ),
  l1('2.1.13', serviceUnused('There is no rsync server', ['rsync'], ['rsync.service'])),
  l1('2.1.14', serviceUnused('There is no Samba server', ['samba'], ['smbd.service'])),
  l1('2.1.15', serviceUnused('There is no SNMP server', ['snmpd'], ['snmpd.service'])),
  l1('2.1.16', packageAbsent(['telnetd', 'inetutils-telnetd'], 'There is no telnet server')),
  l1('2.1.17', serviceUnused('There is no TFTP server', ['tftpd-hpa'], ['tftpd-hpa.service'])),
  l1('2.1.18', serviceUnused('There is no web proxy', ['squid'], ['squid.service'])),
  l1(
    '2.1.19',
    serviceUnused(
      'There is no web server',
      ['apache2', 'nginx', 'lighttpd', 'caddy'],
      ['apache2.service', 'apache2.socket', 'nginx.service', 'lighttpd.service', 'caddy.service'],
    ),
  ),
  l1('2.1.20', serviceUnused('xinetd is not used', ['xinetd'], ['xinetd.service'])),
  l2('2.1.21', packageAbsent(['xserver-common', 'xserver-xorg-core'], 'There is no X server')),
  l1('2.1.22', mailLocalOnly),
  l1(
    '2.1.23',
    review(
      'Only services that were approved listen to the network',
      listeners,
      'Stop what need not listen; the firewall opens only what gateway.yaml names',
    ),
  ),
  l1('2.2.1', client('There is no NIS client', 'nis', 'ypbind-mt')),
  l1('2.2.2', client('There is no rsh client', 'rsh-client', 'rsh-redone-client')),
  l1('2.2.3', client('There is no talk client', 'talk', 'inetutils-talk')),
  l1('2.2.4', client('There is no telnet client', 'telnet', 'inetutils-telnet')),
  l1('2.2.5', client('There is no LDAP client', 'ldap-utils')),
  l1('2.2.6', client('There is no FTP client', 'ftp', 'tnftp')),

  l1('2.3.1.1', oneTimeDaemon),
  l1('2.3.2.1', ifTimesyncd(timesyncdServers)),
  l1('2.3.2.2', ifTimesyncd(unitRuns(timesyncdUnit, 'systemd-timesyncd keeps the time'))),
  l1('2.3.3.1', chronyServers),
  l1('2.3.3.2', chronyUser),
  l1('2.3.3.3', ifInstalled(['chrony'], unitRuns(chronyUnit, 'chrony keeps the time'))),

  l1('2.4.1.1', cron(unitRuns('cron.service', 'cron runs, if it is installed'))),
  l1('2.4.1.2', cron(access(['/etc/crontab'], { mode: 0o600 }))),
  ...['hourly', 'daily', 'weekly', 'monthly', 'yearly', 'd'].map((name, index) =>
    l1(
      `2.4.1.${index + 3}`,
      cron(access([`/etc/cron.${name}`], { mode: 0o700, optional: name === 'yearly' })),
    ),
  ),
  l1('2.4.1.9', allowList('cron', ['cron', 'cronie'], 'crontab')),
  l1('2.4.2.1', allowList('at', ['at'], 'daemon')),
];
