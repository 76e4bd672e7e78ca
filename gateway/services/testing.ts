import type { System } from '../../firstboot/system.ts';

const usual = {
  LoadState: 'loaded',
  ActiveState: 'active',
  SubState: 'running',
  Result: 'success',
  UnitFileState: 'enabled',
  StateChangeTimestamp: '@1767225600',
  NRestarts: '0',
  MemoryCurrent: '1048576',
};

type Properties = Partial<typeof usual>;

/** What systemctl(1) 257 prints of a unit that is not there. */
const missing: typeof usual = {
  ...usual,
  LoadState: 'not-found',
  ActiveState: 'inactive',
  SubState: 'dead',
  UnitFileState: '',
  StateChangeTimestamp: '',
  MemoryCurrent: '[not set]',
};

/** systemd as far as systemctl(1) shows it: units with properties, and what was asked of it. */
export class FakeSystemd {
  readonly calls: string[][] = [];
  readonly #root: string;
  readonly #units: Map<string, Properties>;
  readonly #failing = new Map<string, string>();
  /** Other programs, by name. */
  readonly programs = new Map<string, (args: readonly string[]) => string | Promise<string>>();

  constructor(root: string, units: Record<string, Properties>) {
    this.#root = root;
    this.#units = new Map(Object.entries(units));
  }

  set(unit: string, properties: Properties): void {
    this.#units.set(unit, { ...this.#units.get(unit), ...properties });
  }

  remove(unit: string): void {
    this.#units.delete(unit);
  }

  fail(verb: string, message: string): void {
    this.#failing.set(verb, message);
  }

  get system(): System {
    return {
      root: this.#root,
      boot: '/boot/firmware',
      say: () => undefined,
      run: async (command, args) => {
        const other = this.programs.get(command);
        if (other) return await other(args);
        if (command !== 'systemctl') throw new Error(`${command} failed: not on this machine`);
        this.calls.push([...args]);
        return this.#systemctl(args);
      },
    };
  }

  #systemctl(args: readonly string[]): string {
    const [verb = ''] = args;
    const message = this.#failing.get(verb);
    if (message !== undefined) throw new Error(`systemctl failed: ${message}`);
    const units = args.slice(args.indexOf('--') + 1);
    if (verb === 'show') {
      const wanted =
        args
          .find((arg) => arg.startsWith('--property='))
          ?.slice('--property='.length)
          .split(',') ?? [];
      return units
        .map((unit) => {
          const there = this.#units.get(unit);
          const all: Record<string, string> = {
            ...(there ? { ...usual, ...there } : missing),
            Id: unit,
          };
          // In systemd's order, not in that of the question.
          return Object.keys(all)
            .filter((name) => wanted.includes(name))
            .map((name) => `${name}=${all[name]}\n`)
            .join('');
        })
        .join('\n');
    }
    if (verb === 'restart' || verb === 'reload-or-restart' || verb === 'start')
      for (const unit of units)
        this.set(unit, { ActiveState: 'active', SubState: 'running', Result: 'success' });
    return '';
  }
}
