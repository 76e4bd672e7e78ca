import { type Body, type Finding, fail, judge, none, notApplicable, pass } from './control.ts';
import { type Facts, readIfThere } from './facts.ts';
import { groupId } from './state/accounts.ts';
import { auditdConf, describeWanted, missingIn, type Wanted } from './state/audit.ts';
import { kernelModule, mounts, sysctlNow, sysctlOnDisk } from './state/kernel.ts';
import { packages } from './state/packages.ts';
import { pamModule, pamSetting } from './state/pam.ts';
import { sshdOption } from './state/sshd.ts';
import { unit } from './state/units.ts';
import type { FileStat } from './tree.ts';

/* Controls of the kinds that come again and again, so that each is one line of data. */

const harmless = /^(\/usr)?\/bin\/(false|true)\b/;

/** A kernel module that nothing can load: not loaded, its install line harmless, and blacklisted. */
export function moduleDenied(name: string): Body {
  return {
    title: `The kernel module ${name} cannot be loaded`,
    checks: `${name}: not in /proc/modules; in modprobe.d both \`install ${name} /bin/false\` and \`blacklist ${name}\`; or no kernel ships it`,
    mend: `In /etc/modprobe.d: 'install ${name} /bin/false' and 'blacklist ${name}'; then modprobe -r ${name}`,
    check: (facts) => {
      const module = kernelModule(facts, name);
      if (module.loaded) return fail('it is loaded');
      if (module.shipped === 'built-in') return fail('it is part of the kernel');
      if (module.shipped === 'absent') return pass('no installed kernel has it');
      return none(
        [
          ...(harmless.test(module.install ?? '') ? [] : ['no install line that denies it']),
          ...(module.blacklisted ? [] : ['not blacklisted']),
        ],
        `not loaded; install → ${module.install}; blacklisted`,
      );
    },
  };
}

/** A kernel parameter: its value now, and what the files will set at the next boot. */
export function sysctl(key: string, allowed: readonly number[], title: string): Body {
  const right = (value: string) => allowed.some((one) => value === String(one));
  const wanted = allowed.join(' or ');
  return {
    title,
    checks: `${key} is ${wanted}, now (/proc/sys) and by the last file of sysctl.d that sets it`,
    mend: `In /etc/sysctl.d: '${key} = ${allowed[0]}'; then systemctl restart systemd-sysctl`,
    check: (facts) => {
      const disk = sysctlOnDisk(facts, key);
      const now = facts.live ? sysctlNow(facts, key) : undefined;
      const evidence = [
        ...(now === undefined ? [] : [`now ${now}`]),
        disk ? `${disk.path}: ${disk.value}` : 'set by no file in sysctl.d',
      ].join('; ');
      return judge(
        (now === undefined || right(now)) && disk !== undefined && right(disk.value),
        evidence,
      );
    },
  };
}

/** A file system of its own. */
export function ownFileSystem(path: string, types?: readonly string[]): Body {
  return {
    title: types ? `${path} is a tmpfs or a partition` : `${path} is a file system of its own`,
    checks: `${path} is a mount point in /proc/self/mounts`,
    mend: `Mount a file system on ${path}${types ? ' (a tmpfs)' : ''}`,
    check: (facts) => {
      const mount = mounts(facts).get(path);
      return mount ? pass(`${mount.type} on ${path}`) : fail(`${path} is part of another`);
    },
  };
}

/** An option of a mounted file system; where a path is none of its own there is no such mount. */
export function mountOption(path: string, option: string, always = false): Body {
  return {
    title: `${path} is mounted ${option}`,
    checks: `options of ${path} in /proc/self/mounts`,
    mend: `Add ${option} to the options of ${path} in /etc/fstab or its mount unit, and remount`,
    check: (facts) => {
      const mount = mounts(facts).get(path);
      if (!mount && always) return fail(`${path} is no mount point`);
      if (!mount) return notApplicable(`${path} is no file system of its own`);
      return judge(
        mount.options.includes(option),
        `${mount.type} ${path}: ${mount.options.join(',')}`,
      );
    },
  };
}

export function packageInstalled(names: readonly string[], title: string): Body {
  return {
    title,
    checks: `packages in /var/lib/dpkg/status: ${names.join(', ')}`,
    mend: `apt-get install ${names.join(' ')}`,
    check: (facts) => {
      const installed = packages(facts);
      return none(
        names.filter((name) => !installed.has(name)).map((name) => `${name} is not installed`),
        names.map((name) => `${name} ${installed.get(name)}`).join(', '),
      );
    },
  };
}

export function packageAbsent(names: readonly string[], title: string): Body {
  return {
    title,
    checks: `not in /var/lib/dpkg/status: ${names.join(', ')}`,
    mend: `apt-get purge ${names.join(' ')}`,
    check: (facts) => {
      const installed = packages(facts);
      return none(
        names.filter((name) => installed.has(name)).map((name) => `${name} is installed`),
        `none of ${names.join(', ')} is installed`,
      );
    },
  };
}

/** A service that is not in use: its package is absent, or its units are neither enabled nor active. */
export function serviceUnused(
  title: string,
  names: readonly string[],
  units: readonly string[],
): Body {
  return {
    title,
    units,
    checks: `none of the packages ${names.join(', ')} is installed, or none of ${units.join(', ')} is enabled or active`,
    mend: `apt-get purge ${names.join(' ')}; or: systemctl mask --now ${units.join(' ')}`,
    check: (facts) => {
      const there = names.filter((name) => packages(facts).has(name));
      if (there.length === 0) return pass(`none of ${names.join(', ')} is installed`);
      const used = units
        .map((name) => unit(facts, name))
        .filter((one) => one.active || one.enabled.startsWith('enabled'));
      return none(
        used.map((one) => `${one.name} is ${one.enabled}${one.active ? ', active' : ''}`),
        `${there.join(', ')} is installed, but ${units.join(', ')} is neither enabled nor active`,
      );
    },
  };
}

/** A unit that starts at boot and runs now. */
export function unitRuns(name: string, title: string, wantEnabled = true): Body {
  return {
    title,
    units: [name],
    checks: `${name} is ${wantEnabled ? 'enabled and ' : ''}active`,
    mend: `systemctl enable --now ${name}`,
    check: (facts) => {
      const { enabled, active, found } = unit(facts, name);
      if (!found) return fail(`there is no ${name}`);
      return judge(
        (!wantEnabled || enabled.startsWith('enabled')) && active !== false,
        `${name}: ${enabled}${active === undefined ? '' : active ? ', active' : ', not active'}`,
      );
    },
  };
}

/** Judges a body only where a package is installed. */
export function ifInstalled(names: readonly string[], body: Body): Body {
  return {
    ...body,
    check: (facts) =>
      names.some((name) => packages(facts).has(name))
        ? body.check(facts)
        : notApplicable(`none of ${names.join(', ')} is installed`),
  };
}

export type Access = {
  /** Most permissions that there may be. */
  mode: number;
  /** Names of groups besides root that may have it. */
  groups?: readonly string[];
};

const octal = (mode: number) => mode.toString(8).padStart(4, '0');

/** What is wrong with a file's permissions or owner; undefined if nothing is. */
export function accessProblem(
  facts: Facts,
  path: string,
  stat: FileStat,
  access: Access,
): string | undefined {
  const groups = [0, ...(access.groups ?? []).map((name) => groupId(facts, name))];
  const wrong = [
    ...(stat.mode & ~access.mode
      ? [`mode ${octal(stat.mode)}, at most ${octal(access.mode)}`]
      : []),
    ...(stat.uid === 0 ? [] : [`owner ${stat.uid}`]),
    ...(groups.includes(stat.gid) ? [] : [`group ${stat.gid}`]),
  ];
  return wrong.length ? `${path}: ${wrong.join(', ')}` : undefined;
}

/** Permissions and owner of files; `optional`: one that is not there needs no protection. */
export function access(
  paths: readonly string[],
  o: Access & { optional?: boolean },
  title = `Only root changes ${paths[0]}`,
): Body {
  const group = ['root', ...(o.groups ?? [])].join(' or ');
  return {
    title,
    checks: `${paths.join(', ')}: owner root, group ${group}, mode at most ${octal(o.mode)}`,
    mend: `chown root:${o.groups?.[0] ?? 'root'} ${paths.join(' ')}; chmod ${octal(o.mode)} ${paths.join(' ')}`,
    check: (facts) => {
      const seen: string[] = [];
      const wrong: string[] = [];
      for (const path of paths) {
        const stat = facts.tree.stat(path);
        if (!stat && !o.optional) wrong.push(`${path} is not there`);
        if (!stat) continue;
        const problem = accessProblem(facts, path, stat, o);
        if (problem) wrong.push(problem);
        seen.push(`${path}: ${octal(stat.mode)} ${stat.uid}:${stat.gid}`);
      }
      if (seen.length === 0 && wrong.length === 0)
        return notApplicable(`there is no ${paths.join(', ')}`);
      return none(wrong, seen.join('; '));
    },
  };
}

/** Permissions and owner of all files of directories whose names match; none is not applicable. */
export function accessIn(
  directories: readonly string[],
  pattern: RegExp,
  o: Access,
  title: string,
): Body {
  return {
    title,
    checks: `${pattern.source === '.' ? 'files' : `files ${pattern.source}`} in ${directories.join(', ')}: owner root, mode at most ${octal(o.mode)}`,
    mend: `chown root:root and chmod ${octal(o.mode)} the files named`,
    check: (facts) => {
      const paths = directories.flatMap((directory) =>
        facts.tree
          .list(directory)
          .filter((name) => pattern.test(name))
          .map((name) => `${directory}/${name}`),
      );
      const stats = paths.flatMap((path) => {
        const stat = facts.tree.stat(path);
        return stat?.kind === 'file' ? [{ path, stat }] : [];
      });
      if (stats.length === 0) return notApplicable(`no such files in ${directories.join(', ')}`);
      return none(
        stats.flatMap(({ path, stat }) => accessProblem(facts, path, stat, o) ?? []),
        `${stats.length} files, e.g. ${stats[0]?.path} ${octal(stats[0]?.stat.mode ?? 0)}`,
      );
    },
  };
}

/** An effective option of sshd. */
export function sshd(
  option: string,
  wanted: string,
  right: (value: string) => boolean,
  title: string,
): Body {
  return {
    title,
    checks: `${option} of \`sshd -T\`: ${wanted}`,
    mend: `In /etc/ssh/sshd_config.d: ${option} (${wanted}); then systemctl reload ssh`,
    check: (facts) => {
      const value = sshdOption(facts, option);
      if (value === undefined) return fail(`${option} is not set`);
      return judge(right(value), `${option} ${value}`);
    },
  };
}

export const sshdIs = (option: string, value: string, title: string): Body =>
  sshd(option, value, (found) => found.toLowerCase() === value, title);

/** A list of algorithms without any that are known to be weak. */
export function sshdWithout(option: string, weak: readonly string[], title: string): Body {
  return {
    ...sshd(option, `none of ${weak.join(', ')}`, () => true, title),
    check: (facts) => {
      const value = sshdOption(facts, option);
      if (!value || /^[+^-]/.test(value)) return fail(`${option} has no list of its own`);
      const found = value.split(',').filter((one) => weak.includes(one));
      return none(
        found.map((one) => `${option} offers ${one}`),
        `${option} ${value}`,
      );
    },
  };
}

/** What the audit system records: in the kernel's rules and in the rules on disk. */
export function audited(title: string, ...wanted: readonly Wanted[]): Body {
  const described = wanted.map(describeWanted);
  return {
    title,
    checks: `\`auditctl -l\` and /etc/audit/rules.d record ${described.join('; ')}`,
    mend: `In /etc/audit/rules.d: rules for ${described.join('; ')}; then augenrules --load`,
    check: (facts) => judgeAudited(facts, wanted),
  };
}

export function judgeAudited(facts: Facts, wanted: readonly Wanted[]): Finding {
  const wrong = wanted.flatMap((one) => {
    const places = missingIn(facts, one);
    return places.length ? [`${describeWanted(one)} is not in ${places.join(' nor ')}`] : [];
  });
  return none(
    wrong,
    `${wanted.map(describeWanted).join('; ')}: ${facts.live ? 'in the kernel and on disk' : 'on disk'}`,
  );
}

/** A setting of auditd.conf(5), any case. */
export function auditd(key: string, wanted: readonly string[], title: string): Body {
  return {
    title,
    checks: `${key} in /etc/audit/auditd.conf: ${wanted.join(' or ')}`,
    mend: `In /etc/audit/auditd.conf: ${key} = ${wanted[0]}; then systemctl reload auditd`,
    check: (facts) => {
      const value = auditdConf(facts).get(key);
      return judge(wanted.includes(value?.toLowerCase() ?? ''), `${key} = ${value ?? '(not set)'}`);
    },
  };
}

/** A PAM module that is in a stack of Debian's common-* files. */
export function pamEnabled(
  module: string,
  stacks: readonly (readonly [service: string, type: string])[],
  title: string,
): Body {
  const places = stacks.map(([service, type]) => `${service} (${type})`).join(', ');
  return {
    title,
    checks: `${module} in ${places} of /etc/pam.d`,
    mend: `Enable ${module} with a profile in /usr/share/pam-configs and pam-auth-update`,
    check: (facts) =>
      none(
        stacks
          .filter(([service, type]) => pamModule(facts, service, type, module).length === 0)
          .map(([service, type]) => `${service} has no ${type} ${module}`),
        `${module} in ${places}`,
      ),
  };
}

/** A setting of a PAM module, as its argument or in its file. */
export function pamValue(o: {
  title: string;
  module: string;
  stack: readonly [service: string, type: string];
  file: (facts: Facts) => ReadonlyMap<string, string>;
  path: string;
  key: string;
  wanted: string;
  right: (value: string | undefined) => boolean;
  mend: string;
}): Body {
  return {
    title: o.title,
    checks: `${o.key} of ${o.module} (argument, or ${o.path}): ${o.wanted}`,
    mend: `In ${o.path}: ${o.mend}`,
    check: (facts) => {
      const lines = pamModule(facts, ...o.stack, o.module);
      if (lines.length === 0) return fail(`${o.module} is not in ${o.stack[0]}`);
      const value = pamSetting(lines, o.file(facts), o.key);
      return judge(o.right(value), `${o.key} ${value === undefined ? 'is not set' : `= ${value}`}`);
    },
  };
}

/** A numeric value from `least` to `most`. */
export const between =
  (least: number, most: number) =>
  (value: string | undefined): boolean =>
    value !== undefined && /^-?\d+$/.test(value) && Number(value) >= least && Number(value) <= most;

/** For what only a person can judge: shows what there is. */
export function review(title: string, show: (facts: Facts) => string, mend: string): Body {
  return {
    title,
    checks: 'for a person to judge; shows what there is',
    mend,
    check: (facts) => notApplicable(`for a person to judge: ${show(facts)}`),
  };
}

/** All text of shell start files: /etc/profile, /etc/profile.d, /etc/bash.bashrc. */
export function shellStartFiles(facts: Facts): { path: string; lines: readonly string[] }[] {
  const paths = [
    '/etc/bash.bashrc',
    '/etc/profile',
    ...facts.tree
      .list('/etc/profile.d')
      .filter((name) => name.endsWith('.sh'))
      .map((name) => `/etc/profile.d/${name}`),
  ];
  return paths.flatMap((path) => {
    const text = readIfThere(facts, path);
    return text === undefined
      ? []
      : [{ path, lines: text.split('\n').filter((line) => !/^\s*#/.test(line)) }];
  });
}
