import { mkdir, rm } from 'node:fs/promises';
import { availableParallelism, loadavg } from 'node:os';
import { join, resolve } from 'node:path';
import { Command, Option } from 'commander';
import { unregisterBinfmt } from '../chroot/binfmt.ts';
import { holdLock } from '../chroot/lock.ts';
import { insideNamespace, runInNamespace } from '../chroot/namespace.ts';
import { exitCode } from '../errors.ts';
import { run } from '../exec.ts';
import { installedPackages } from '../inspect/inspect.ts';
import { withImage } from '../inspect/open.ts';
import { presentError } from '../ui/present.ts';
import { categoriesOf } from './categories.ts';
import { Ground } from './ground.ts';
import { items } from './items.ts';
import { judge } from './measure.ts';
import { addToRecord, type BenchmarkRecord, recordName, recordText } from './record.ts';

const project = resolve(import.meta.dirname, '../..');

type Flags = { runs: string; only?: string[]; into?: string; json?: boolean; cache: string };

const names = [...Object.keys(items), 'sizes'];

const program = new Command('bench')
  .description(
    'Measures builds beside the same from standard parts, in one run and on the same inputs (root: asks for sudo).',
  )
  .option('--runs <n>', 'how often each is measured; medians count', '3')
  .addOption(new Option('--only <name...>', 'just these').choices(names))
  .option(
    '--into <file>',
    'add to this record; by default a run of everything makes one in docs/benchmarks',
  )
  .option('--cache <folder>', 'what is there already is taken from here', join(project, 'cache'))
  .option('--json', 'print the record as JSON');

/** Everything of the benchmark that lies on the disk. */
const scratchOf = (cache: string) => join(resolve(cache), 'bench');

async function measure(o: Flags): Promise<void> {
  const say = (text: string) =>
    process.stderr.write(`${new Date().toISOString().slice(11, 19)} ${text}\n`);
  const chosen = o.only ?? names;
  const scratch = scratchOf(o.cache);
  await rm(scratch, { recursive: true, force: true });
  await mkdir(scratch, { recursive: true });
  const date = new Date().toISOString();
  const machine = {
    architecture: process.arch,
    cores: availableParallelism(),
    load: Math.round((loadavg()[0] ?? 0) * 10) / 10,
  };
  const ground = await Ground.lay({ project, cache: resolve(o.cache), scratch, say });
  const into =
    o.into ??
    (o.only === undefined ? join(project, 'docs/benchmarks', recordName(date)) : undefined);
  let record: BenchmarkRecord = { date, machine, measures: {} };
  const keep = async (more: Partial<BenchmarkRecord>) => {
    const fresh = { ...record, ...more, measures: { ...record.measures, ...more.measures } };
    // Each item is kept when it is there: the last ones take long.
    record = into === undefined ? fresh : await addToRecord(resolve(into), fresh);
  };
  for (const [name, item] of Object.entries(items)) {
    if (!chosen.includes(name)) continue;
    say(`measuring: ${name}`);
    const found = await item(ground, Number(o.runs));
    await keep({
      measures: Object.fromEntries(Object.entries(found).map(([key, one]) => [key, judge(one)])),
    });
  }
  if (chosen.includes('sizes')) await keep({ image: await imageFacts(await ground.image()) });
  process.stdout.write(`${o.json ? JSON.stringify(record, null, 2) : recordText(record)}\n`);
}

async function imageFacts(path: string): Promise<NonNullable<BenchmarkRecord['image']>> {
  return await withImage(path, (image) => ({
    name: 'pi-gateway',
    packages: Object.keys(installedPackages(image.root)).length,
    categories: categoriesOf(image),
  }));
}

/** Also what an interrupted run left: its mounts and loop devices went with its namespace. */
async function clean(cache: string): Promise<void> {
  const scratch = scratchOf(cache);
  if (process.getuid?.() !== 0) {
    await run('sudo', ['rm', '-rf', '--one-file-system', scratch]);
    return;
  }
  // What was killed may take a moment to let go.
  await rm(scratch, { recursive: true, force: true, maxRetries: 10 });
  await unregisterBinfmt();
}

program.parse();
const flags = program.opts<Flags>();
if (!/^[1-9]\d*$/.test(flags.runs))
  program.error(`error: --runs takes a number from 1 on, not '${flags.runs}'`, {
    exitCode: exitCode.usage,
  });
try {
  if (insideNamespace()) {
    // As the first process of its namespace it takes all others, mounts and loop devices with it.
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const)
      process.once(signal, () => process.exit(exitCode.interrupted));
    await measure(flags);
  } else {
    await holdLock('pi-gateway-image-bench', {
      what: 'Another benchmark is running on this machine',
      fix: 'Wait for it to end, or stop it',
      code: exitCode.host,
    });
    try {
      process.exitCode = await runInNamespace();
    } finally {
      await clean(flags.cache);
    }
  }
} catch (error) {
  process.exitCode = presentError(error, { json: false });
}
