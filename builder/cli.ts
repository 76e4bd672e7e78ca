import { readFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command, CommanderError, Option } from 'commander';
import { type ComplianceFlags, complianceOptions } from '../gateway/compliance/command.ts';
import { insideNamespace, runInNamespace } from './chroot/namespace.ts';
import { explainConfig } from './config/explain.ts';
import { extensionsOf } from './config/extensions.ts';
import { configJsonSchema } from './config/json-schema.ts';
import { type LoadedConfig, loadConfig } from './config/load.ts';
import { parseSource } from './config/source.ts';
import { exitCode } from './errors.ts';
import type { PersonalizeFlags } from './personalize/command.ts';
import { enabledStages } from './plan/order.ts';
import type { RuntimeBundleFlags } from './runtime/command.ts';
import { type LoadedStage, loadStages } from './stages.ts';
import type { PassphraseFlags, SignFlags } from './trust/command.ts';
import { megabytes, presentError, table, wantsColor } from './ui/present.ts';

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');

type Common = {
  json?: boolean;
  config?: string | undefined;
  env?: string | undefined;
  set?: string[];
};

type Project = { loaded: LoadedConfig; all: LoadedStage[]; enabled: LoadedStage[] };

const layersOf = (o: Common) => ({ root, file: o.config, env: o.env, sets: o.set });

/** Reads the configuration and the stages that it turns on. */
async function openProject(o: Common): Promise<Project> {
  const all = await loadStages(root, extensionsOf(layersOf(o)));
  const loaded = await loadConfig({
    root,
    file: o.config === undefined ? undefined : resolve(o.config),
    env: o.env,
    sets: o.set ?? [],
    stages: all.map((stage) => stage.definition),
  });
  const enabled = enabledStages(all, loaded.config);
  return { loaded, all, enabled };
}

/** True if an environment sets this key; one that cannot be read is told by {@link loadConfig}. */
function environmentSets(env: string, key: string): boolean {
  try {
    const text = readFileSync(join(root, 'environments', `${env}.yaml`), 'utf8');
    return key in parseSource(text, env).value;
  } catch {
    return false;
  }
}

function print(o: Common, data: unknown, text: () => string): void {
  process.stdout.write(o.json ? `${JSON.stringify(data, null, 2)}\n` : `${text()}\n`);
}

/** What a command is at, on stderr. */
const note = (text: string) => process.stderr.write(`${text}\n`);

const collect = (value: string, all: string[]) => [...all, value];

function configured(command: Command): Command {
  return command
    .option('--config <file>', 'another file than gateway.yaml')
    .option('--env <name>', 'also read environments/<name>.yaml')
    .option('--set <key=value>', 'set one value, e.g. --set image.compress=zstd', collect, [])
    .option('--json', 'print JSON for machines');
}

const program = new Command('pi-gateway-image')
  .description('Builds, inspects and boots hardened Raspberry Pi gateway images.')
  .version(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')).version)
  .configureHelp({ showGlobalOptions: true })
  .showHelpAfterError('(see --help)')
  .exitOverride()
  .addHelpText(
    'after',
    `
Exit codes:
  0  done
  1  the build, boot or inspection failed
  2  wrong command line or configuration; nothing was touched
  3  the host lacks something (root, a package, disk space, a kernel feature)
  4  a download, checksum or signature did not hold
  130  interrupted

Examples:
  pi-gateway-image build                         the image of gateway.yaml
  pi-gateway-image plan --explain-config         what would be done, and why
  pi-gateway-image build --env production --set image.compress=zstd
  pi-gateway-image boot                          try the last image in QEMU`,
  );

type BuildFlags = Common & {
  dryRun?: boolean;
  refresh?: boolean;
  rawOnly?: boolean;
  shell?: string;
  locked?: boolean;
  spaceCheck: boolean;
};

configured(program.command('build'))
  .description('build the image (root: asks for sudo)')
  .option('--dry-run', 'only say what would be done, as plan does')
  .option('--refresh', 'take the newest base and packages')
  .option('--locked', 'take just what gateway.lock names, or refuse')
  .option('--raw-only', 'stop when the raw image is there: no compression, no manifests')
  .option('--shell <stage>', 'open a shell in the image when this stage failed or is applied')
  .option('--no-space-check', 'start even if the disk seems too small')
  .addHelpText(
    'after',
    '\nExamples:\n  pi-gateway-image build --env production\n  pi-gateway-image build --shell ssh',
  )
  .action(async (o: BuildFlags) => {
    if (o.dryRun) return await showPlan(o);
    const project = await openProject(o);
    if (o.locked && o.refresh)
      program.error('error: --locked and --refresh exclude each other; see lock update', {
        exitCode: exitCode.usage,
      });
    if (o.shell && !project.enabled.some((stage) => stage.definition.name === o.shell))
      program.error(`error: there is no stage '${o.shell}'`, { exitCode: exitCode.usage });
    if (!insideNamespace()) {
      process.exitCode = await runInNamespace();
      return;
    }
    await sayPermissions(project);
    const { runBuild } = await import('./build-command.ts');
    const { requireLock, lockName } = await import('./lock/lock-file.ts');
    await runBuild({
      lock: o.locked
        ? { lock: await requireLock(join(root, lockName)), from: lockName, complete: true }
        : undefined,
      root,
      config: project.loaded.config,
      stages: project.enabled,
      refresh: o.refresh ?? false,
      shell: o.shell,
      spaceCheck: o.spaceCheck,
      rawOnly: o.rawOnly ?? false,
      json: o.json ?? false,
    });
  });

/** What extensions may do is said before they come into an image. */
async function sayPermissions({ enabled, loaded }: Project): Promise<void> {
  if (!enabled.some(({ extension }) => extension)) return;
  const { permissionLines, permissionsFor } = await import('./extension/extension.ts');
  for (const { extension } of enabled) {
    if (!extension) continue;
    const { name, version } = extension.manifest;
    note(`The extension ${name} ${version} may (! beyond itself):`);
    const may = permissionsFor(extension, loaded.config.stages[name]);
    for (const line of permissionLines(may)) note(`  ${line}`);
  }
}

async function showPlan(o: Common & { explainConfig?: boolean }): Promise<void> {
  const project = await openProject(o);
  if (o.explainConfig) {
    const rows = explainConfig(project.loaded);
    print(o, rows, () =>
      table([['KEY', 'VALUE', 'FROM'], ...rows.map((row) => [row.key, row.value, row.from])]),
    );
    return;
  }
  const { planSteps, planText } = await import('./plan/show.ts');
  const steps = await planSteps(root, project.loaded.config, project.enabled);
  print(o, steps, () => planText(steps, wantsColor(process.stdout)));
}

configured(program.command('plan'))
  .description('say what a build would do: each step, its digest, cached or why not')
  .option('--explain-config', 'list every value and where it came from')
  .addHelpText(
    'after',
    '\nExamples:\n  pi-gateway-image plan\n  pi-gateway-image plan --explain-config --env production',
  )
  .action(showPlan);

configured(program.command('matrix [file]'))
  .description('build all variants of matrix: in gateway.yaml side by side (root: asks for sudo)')
  .option('--jobs <n>', 'steps that run side by side; by default as cores and memory allow')
  .option('--refresh', 'take the newest base and packages')
  .option('--locked', 'take just what gateway.lock names, or refuse')
  .option('--raw-only', 'stop when the raw images are there')
  .option('--no-space-check', 'start even if the disk seems too small')
  .addHelpText(
    'after',
    '\nExamples:\n  pi-gateway-image matrix\n  pi-gateway-image matrix fleet.yaml --jobs 1 --set image.compress=zstd',
  )
  .action(async (file: string | undefined, o: BuildFlags & { jobs?: string }) => {
    const config = file ?? o.config;
    const { checkVariants, slotsFor, variantLayers } = await import('./matrix/variants.ts');
    const plain = (await openProject({ ...o, config })).loaded.config;
    const jobs = o.jobs === undefined ? undefined : Number(o.jobs);
    if (Object.keys(plain.matrix).length === 0)
      program.error('error: there is no matrix: in the configuration (docs/reproducible.md)', {
        exitCode: exitCode.usage,
      });
    if (jobs !== undefined && !(Number.isInteger(jobs) && jobs > 0))
      program.error('error: --jobs wants a number of at least 1', { exitCode: exitCode.usage });
    const builds = [];
    for (const { variant, env, sets } of variantLayers(plain.matrix, {
      name: plain.name,
      sets: o.set ?? [],
      namedByEnv: (env) => environmentSets(env, 'name'),
    })) {
      const { loaded, enabled } = await openProject({ config, env, set: sets });
      builds.push({ variant, config: { ...loaded.config, matrix: {} }, stages: enabled });
    }
    checkVariants(
      builds.map(({ variant, config: { name, paths } }) => ({ variant, name, cache: paths.cache })),
    );
    if (!insideNamespace()) {
      process.exitCode = await runInNamespace();
      return;
    }
    const { runMatrix } = await import('./matrix/command.ts');
    const { requireLock, lockName } = await import('./lock/lock-file.ts');
    await runMatrix({
      root,
      cache: resolve(root, plain.paths.cache),
      builds,
      slots: jobs ?? slotsFor(availableParallelism(), process.availableMemory()),
      refresh: o.refresh ?? false,
      rawOnly: o.rawOnly ?? false,
      spaceCheck: o.spaceCheck,
      lock: o.locked
        ? { lock: await requireLock(join(root, lockName)), from: lockName, complete: true }
        : undefined,
      json: o.json ?? false,
    });
  });

const lock = program
  .command('lock')
  .description('gateway.lock: base, packages and tools to the last version');
configured(lock.command('update'))
  .description('lock the newest packages and say what changed (root: asks for sudo)')
  .option('--current', 'lock what the last build took, without asking for newer')
  .option('--add', 'keep what is locked; add what this configuration needs beside it')
  .option('--no-space-check', 'start even if the disk seems too small')
  .addHelpText(
    'after',
    '\nExamples:\n  pi-gateway-image lock update\n  pi-gateway-image lock update --add --env router',
  )
  .action(async (o: Common & { current?: boolean; add?: boolean; spaceCheck: boolean }) => {
    const project = await openProject(o);
    if (!insideNamespace()) {
      process.exitCode = await runInNamespace();
      return;
    }
    const { updateLock } = await import('./lock/command.ts');
    const { diffLockText } = await import('./lock/compare.ts');
    const { endOnSignals } = await import('./build-command.ts');
    endOnSignals();
    const result = await updateLock({
      root,
      config: project.loaded.config,
      stages: project.enabled,
      current: o.current ?? false,
      add: o.add ?? false,
      spaceCheck: o.spaceCheck,
    });
    print(o, result, () =>
      result.written
        ? `${diffLockText(result.diff)}\nWritten: ${result.lock}`
        : 'gateway.lock has the newest of everything; it stays as it is.',
    );
  });
configured(lock.command('check'))
  .description('compare the lock with the configuration and with what the archive has')
  .action(async (o: Common) => {
    const project = await openProject(o);
    const { checkLock, lockCheckText } = await import('./lock/command.ts');
    const check = await checkLock({
      root,
      config: project.loaded.config,
      stages: project.enabled,
    });
    print(o, check, () => lockCheckText(check));
    if (check.missing.length > 0) process.exitCode = exitCode.source;
  });
configured(lock.command('show'))
  .description('list what is locked')
  .action(async (o: Common) => {
    const { lockName, requireLock } = await import('./lock/lock-file.ts');
    const { lockShowText } = await import('./lock/command.ts');
    const locked = await requireLock(join(root, lockName));
    print(o, locked, () => lockShowText(locked));
  });

program
  .command('runtime-bundle')
  .description("pack the gateway's own programs as an update for devices, with a signed list")
  .requiredOption('--sign-key <file>', 'secret key of minisign')
  .option('--passphrase-file <file>', 'of the key')
  .option('--passphrase-env <name>', 'the same, from an environment variable')
  .requiredOption('--serial <number>', 'number of the list: above that of the last one')
  .option('--days <number>', 'how long the list is good', '30')
  .option('--minimum <version>', 'the oldest version that it can replace')
  .option('--output <folder>', 'where the files go', 'output/runtime')
  .option('--json', 'print JSON for machines')
  .addHelpText(
    'after',
    `
Example:
  pi-gateway-image runtime-bundle --sign-key minisign.key --serial 7 --output release`,
  )
  .action(async (o: Common & RuntimeBundleFlags) => {
    const { makeRuntimeBundle, runtimeBundleText } = await import('./runtime/command.ts');
    const made = await makeRuntimeBundle(root, o);
    print(o, made, () => runtimeBundleText(made));
  });

program
  .command('verify <path>')
  .description(
    'verify a release by its signature (--key), or an image by building it again (--rebuild)',
  )
  .option('--key <file>', "the project's public key: PATH is a release's folder")
  .option('--rebuild', 'PATH is an image: build it again and compare it byte for byte (root)')
  .option('--cache <folder>', 'rebuild: believe the layers of this cache; by default an empty one')
  .option('--keep <file>', 'rebuild: keep the rebuilt raw image as this file')
  .option('--no-space-check', 'start even if the disk seems too small')
  .option('--json', 'print JSON for machines')
  .addHelpText(
    'after',
    `
--key: every file is what was signed, none is missing, none was added; exit code 4 if not.
--rebuild: the image lies beside its manifest.json, or the manifest itself is given. Exit code 1: it is
another image; what differs is told down to the files.

Examples:
  pi-gateway-image verify release --key pi-gateway.pub
  pi-gateway-image verify --rebuild output/pi-gateway/pi-gateway.img.xz
  pi-gateway-image verify --rebuild release/manifest.json --json`,
  )
  .action(
    async (
      path: string,
      o: Common & {
        key?: string;
        rebuild?: boolean;
        cache?: string;
        keep?: string;
        spaceCheck: boolean;
      },
    ) => {
      if ((o.key === undefined) === (o.rebuild !== true))
        program.error('error: give --key FILE (a release) or --rebuild (an image)', {
          exitCode: exitCode.usage,
        });
      if (o.key !== undefined) {
        const { runVerify } = await import('./trust/command.ts');
        const { verdictText } = await import('./trust/release-folder.ts');
        const verdict = await runVerify(resolve(path), resolve(o.key));
        print(o, verdict, () => verdictText(path, verdict));
        return;
      }
      const { loaded } = await openProject({});
      if (!insideNamespace()) {
        process.exitCode = await runInNamespace();
        return;
      }
      const { runRebuild } = await import('./verify/command.ts');
      await runRebuild({
        root,
        target: resolve(path),
        projectCache: resolve(root, loaded.config.paths.cache),
        cache: o.cache === undefined ? undefined : resolve(o.cache),
        keep: o.keep === undefined ? undefined : resolve(o.keep),
        spaceCheck: o.spaceCheck,
        json: o.json ?? false,
      });
    },
  );

const keys = program.command('keys').description('the key pair that releases are signed with');
keys
  .command('new <name>')
  .description('make NAME.key (secret) and NAME.pub, in the format of minisign')
  .option('--passphrase-file <file>', 'the secret key is useless without what this file holds')
  .option('--passphrase-env <name>', 'the same, from an environment variable')
  .option('--json', 'print JSON for machines')
  .addHelpText('after', '\nExample:\n  pi-gateway-image keys new pi-gateway')
  .action(async (name: string, o: Common & PassphraseFlags) => {
    const { runKeysNew } = await import('./trust/command.ts');
    const made = await runKeysNew(resolve(name), o);
    print(
      o,
      made,
      () =>
        `Secret key: ${made.secret} (keep it out of git, and keep a copy)\nPublic key: ${made.public} (publish it)\n${made.line}`,
    );
  });

program
  .command('sign <directory>')
  .description("sign a build's folder: SHA256SUMS.minisig, and the provenance in an envelope")
  .option('--key <file>', 'secret key, of keys new or of minisign -G')
  .option('--key-env <name>', 'the same, from an environment variable')
  .option('--passphrase-file <file>', "the key's passphrase")
  .option('--passphrase-env <name>', 'the same, from an environment variable')
  .option('--json', 'print JSON for machines')
  .addHelpText(
    'after',
    '\nExamples:\n  pi-gateway-image sign output/pi-gateway --key pi-gateway.key\n  pi-gateway-image sign release --key-env SIGNING_KEY --passphrase-env SIGNING_PASSPHRASE',
  )
  .action(async (directory: string, o: Common & SignFlags) => {
    const { runSign } = await import('./trust/command.ts');
    const made = await runSign(resolve(directory), o);
    print(o, made, () => `Signed ${made.files.length} files of ${directory} by key ${made.key}`);
  });

configured(program.command('vulnerabilities <image>'))
  .description("compare an image's packages with Debian's security data")
  .requiredOption('--vuln-db <file|url>', "the tracker's data.json")
  .addHelpText(
    'after',
    '\nExit code 1: trust.vulnerabilities of gateway.yaml does not allow it.\n\nExample:\n  pi-gateway-image vulnerabilities output/pi-gateway/pi-gateway.img --vuln-db data.json',
  )
  .action(async (image: string, o: Common & { vulnDb: string }) => {
    const { config } = (await openProject(o)).loaded;
    const { runVulnerabilities, reportText } = await import('./trust/report.ts');
    const report = await runVulnerabilities(resolve(image), {
      tracker: o.vulnDb,
      release: config.debian.suite,
      policy: config.trust.vulnerabilities,
    });
    print(o, report, () => reportText(report));
    if (report.violations.length > 0)
      process.stderr.write(
        `trust.vulnerabilities of gateway.yaml does not allow: ${report.violations.join(', ')}\n`,
      );
  });

configured(program.command('boot'))
  .description('boot the last image in QEMU; the image stays as it is')
  .addOption(
    new Option('--machine <name>', 'machine to emulate')
      .choices(['virt', 'raspi3b'])
      .default('virt'),
  )
  .option('--image <file>', 'another image')
  .option('--key <file>', 'public SSH key to let in (default: the first in ~/.ssh)')
  .option('--ssh-port <port>', 'port on 127.0.0.1 that leads to the SSH port', '2222')
  .addHelpText(
    'after',
    '\nExamples:\n  pi-gateway-image boot --key ~/.ssh/id_ed25519.pub\n  ssh -p 2222 gateway@127.0.0.1',
  )
  .action(
    async (
      o: Common & { machine: 'virt' | 'raspi3b'; image?: string; key?: string; sshPort: string },
    ) => {
      const { loaded } = await openProject(o);
      const { bootInteractively } = await import('./qemu/console.ts');
      const { name, paths } = loaded.config;
      process.exitCode = await bootInteractively({
        image: resolve(o.image ?? join(root, paths.output, name, `${name}.img`)),
        machine: o.machine,
        key: o.key,
        sshPort: Number(o.sshPort),
      });
    },
  );

program
  .command('inspect <image>')
  .description('show partitions, file systems, packages, stages and sizes of an image')
  .option('--json', 'print JSON for machines')
  .addHelpText(
    'after',
    '\nExample:\n  pi-gateway-image inspect output/pi-gateway/pi-gateway.img.xz',
  )
  .action(async (image: string, o: Common) => {
    const { inspectImage, inspectText } = await import('./inspect/inspect.ts');
    const facts = await inspectImage(resolve(image));
    print(o, facts, () => inspectText(facts));
  });

program
  .command('diff <a> <b>')
  .description('compare packages, files and sizes of two images')
  .option('--json', 'print JSON for machines')
  .addHelpText(
    'after',
    '\nExample:\n  pi-gateway-image diff yesterday.img.xz output/pi-gateway/pi-gateway.img',
  )
  .action(async (a: string, b: string, o: Common) => {
    const { diffImages, diffText } = await import('./inspect/diff.ts');
    const result = await diffImages(resolve(a), resolve(b));
    print(o, result, () => diffText(result));
  });

program
  .command('personalize <image>')
  .description("write a device's own settings into a copy of an image; a fleet's from a CSV list")
  .option('--device <file>', "the owner's settings (see gateway-device.yaml.example)")
  .option('--batch <file>', 'CSV list of devices; --device then holds what they have in common')
  .option('--output <path>', 'file to make; with --batch or --files-only a folder')
  .option('--files-only', "only the boot partition's files, in a folder")
  .option('--force', 'replace what is there')
  .option('--json', 'print JSON for machines')
  .addHelpText(
    'after',
    `
The name's ending decides: .img, .img.xz or .img.zst. Results hold secrets and can be read by you alone.
The first row of a list names settings by dotted path, each further row is one device:
  hostname,admin.ssh_authorized_keys,ddns.providers.0.token
An empty cell leaves the value of --device; a list of texts has one a line of the cell.

Examples:
  pi-gateway-image personalize pi-gateway.img.xz --device attic.yaml --output attic.img
  pi-gateway-image personalize pi-gateway.img --batch devices.csv --device common.yaml --output fleet`,
  )
  .action(async (image: string, o: Common & PersonalizeFlags) => {
    const { runPersonalize, personalizeJson, personalizeText } = await import(
      './personalize/command.ts'
    );
    const made = await runPersonalize(resolve(image), o, o.json ?? false);
    print(o, personalizeJson(made), () => personalizeText(made));
  });

complianceOptions(
  program
    .command('compliance [image]')
    .description('judge an image by the CIS benchmark for Debian, as far as files tell')
    .option('--tree <directory>', 'a root file system in a directory instead of an image'),
).action(async (image: string | undefined, o: Common & ComplianceFlags & { tree?: string }) => {
  const { judgeImage, judgeDirectory } = await import('./inspect/compliance.ts');
  if (o.tree !== undefined) {
    process.exitCode = await judgeDirectory(resolve(o.tree), o);
    return;
  }
  const { name, paths } = (await openProject({})).loaded.config;
  process.exitCode = await judgeImage(
    resolve(image ?? join(root, paths.output, name, `${name}.img`)),
    o,
  );
});

const cache = program
  .command('cache')
  .description('the layers, tools and downloads that builds keep');
configured(cache.command('ls'))
  .description('list the layers, most recently used first')
  .action(async (o: Common) => {
    const { loaded } = await openProject(o);
    const { listCache } = await import('./layer/cache.ts');
    const entries = await listCache(resolve(root, loaded.config.paths.cache));
    print(o, entries, () =>
      table([
        ['KIND', 'NAME', 'SIZE', 'USED', 'WHAT'],
        ...entries.map((entry) => [
          entry.kind,
          entry.name,
          megabytes(entry.bytes),
          entry.used.slice(0, 16),
          entry.title,
        ]),
      ]),
    );
  });
configured(cache.command('prune'))
  .description('remove what no build has used for a while')
  .option('--older-than <days>', 'days since the last use', '14')
  .option('--all', 'remove everything')
  .action(async (o: Common & { olderThan: string; all?: boolean }) => {
    const { loaded } = await openProject(o);
    const { pruneCache } = await import('./layer/cache.ts');
    const removed = await pruneCache(
      resolve(root, loaded.config.paths.cache),
      o.all ? 0 : Number(o.olderThan),
    );
    print(
      o,
      removed,
      () => `Removed ${removed.length}, ${megabytes(removed.reduce((sum, e) => sum + e.bytes, 0))}`,
    );
  });

configured(cache.command('push'))
  .description("put the last build's layers where cache.push says (root: asks for sudo)")
  .addHelpText(
    'after',
    '\nExample:\n  pi-gateway-image cache push --set cache.push=oci://registry.example.org/gateway/layers',
  )
  .action(async (o: Common) => {
    const { loaded } = await openProject(o);
    if (!insideNamespace()) {
      process.exitCode = await runInNamespace();
      return;
    }
    const { pushLast } = await import('./layer/share-command.ts');
    const pushed = await pushLast({ root, config: loaded.config }, note);
    print(o, pushed, () => `Pushed ${pushed.trees} layers, ${megabytes(pushed.bytes)}`);
  });

const exporting = program.command('export').description('the last build in other forms');
configured(exporting.command('oci'))
  .description('write the root file system as an OCI image, for containers (root: asks for sudo)')
  .option('--output <file>', 'archive to write; by default output/<name>/<name>.oci.tar')
  .addHelpText(
    'after',
    '\nExamples:\n  pi-gateway-image export oci\n  podman run --rm -it oci-archive:output/pi-gateway/pi-gateway.oci.tar',
  )
  .action(async (o: Common & { output?: string }) => {
    const { loaded } = await openProject(o);
    if (!insideNamespace()) {
      process.exitCode = await runInNamespace();
      return;
    }
    const { exportLast } = await import('./layer/share-command.ts');
    const made = await exportLast({ root, config: loaded.config }, o.output, note);
    print(
      o,
      made,
      () => `${made.file}: ${made.layers} layers, ${megabytes(made.bytes)}\n${made.digest}`,
    );
  });

const stage = program.command('stage').description('the parts that an image is made of');
configured(stage.command('ls'))
  .description('list the stages in the order of the build')
  .action(async (o: Common) => {
    const { all, enabled } = await openProject(o);
    const on = new Set(enabled.map((one) => one.definition.name));
    const rows = [...enabled, ...all.filter((one) => !on.has(one.definition.name))].map(
      ({ definition: d }) => ({
        name: d.name,
        on: on.has(d.name),
        needs: d.needs ?? [],
        summary: d.summary,
      }),
    );
    print(o, rows, () =>
      table([
        ['STAGE', 'ON', 'NEEDS', 'SUMMARY'],
        ...rows.map((r) => [r.name, r.on ? 'yes' : 'no', r.needs.join(','), r.summary]),
      ]),
    );
  });
stage
  .command('new <name>')
  .description('make a stage or an extension that builds and passes its tests')
  .option('--extension [folder]', 'an extension, in a folder of its own; by default ../NAME')
  .option('--json', 'print JSON for machines')
  .addHelpText(
    'after',
    '\nExamples:\n  pi-gateway-image stage new hello\n  pi-gateway-image stage new hello --extension ~/hello',
  )
  .action(async (name: string, o: Common & { extension?: string | true }) => {
    if (o.extension !== undefined) {
      const { newExtension } = await import('./scaffold/new-extension.ts');
      const folder = resolve(o.extension === true ? join(root, '..', name) : o.extension);
      const made = await newExtension(root, name, folder);
      print(
        o,
        { folder, files: made },
        () =>
          `Made in ${folder}:\n${made.map((file) => `  ${file}`).join('\n')}\nNext: npm test there, then name it in gateway.yaml: extensions: [${folder}]`,
      );
      return;
    }
    const { newStage } = await import('./scaffold/new-stage.ts');
    const files = await newStage(root, name);
    print(
      o,
      { files },
      () =>
        `Made:\n${files.map((file) => `  ${file}`).join('\n')}\nNext: npm run image, then npm test`,
    );
  });

configured(program.command('schema'))
  .description('print the JSON Schema of gateway.yaml')
  .addHelpText('after', '\nExample:\n  pi-gateway-image schema > gateway.schema.json')
  .action(async (o: Common) => {
    const all = await loadStages(root, extensionsOf(layersOf(o)));
    process.stdout.write(
      `${JSON.stringify(configJsonSchema(all.map((one) => one.definition)), null, 2)}\n`,
    );
  });

program
  .command('doctor')
  .description('say what this host has, lacks, and what mends it')
  .option('--json', 'print JSON for machines')
  .action(async (o: Common) => {
    const { examine, doctorText } = await import('./doctor.ts');
    const findings = await examine(root);
    print(o, findings, () => doctorText(findings));
    if (findings.some((finding) => finding.state === 'missing')) process.exitCode = exitCode.host;
  });

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : exitCode.usage;
  else process.exitCode = presentError(error, { json: process.argv.includes('--json') });
}
