import { BuildError, exitCode } from '../errors.ts';

type Named = { name: string; needs?: readonly string[] };

/**
 * Orders stages so that each comes after those that it needs; among equals by name, so that the
 * order never depends on the file system.
 * @throws BuildError for a circle. Needs that are absent are the configuration's to report.
 */
export function orderStages<T extends Named>(stages: readonly T[]): T[] {
  const byName = new Map(stages.map((stage) => [stage.name, stage]));
  const done = new Set<string>();
  const ordered: T[] = [];
  const visit = (stage: T, path: readonly string[]): void => {
    if (done.has(stage.name)) return;
    if (path.includes(stage.name))
      throw new BuildError({
        what: `Stages need each other in a circle: ${[...path, stage.name].join(' → ')}`,
        fix: "Remove one of these from the stages' needs",
        code: exitCode.usage,
      });
    for (const need of [...(stage.needs ?? [])].sort()) {
      const other = byName.get(need);
      if (other) visit(other, [...path, stage.name]);
    }
    done.add(stage.name);
    ordered.push(stage);
  };
  for (const stage of [...stages].sort((a, b) => (a.name < b.name ? -1 : 1))) visit(stage, []);
  return ordered;
}

/** The stages that a configuration turns on, in their order. Pure. */
export function enabledStages<
  T extends { definition: { name: string; needs?: readonly string[] | undefined } },
>(
  all: readonly T[],
  config: { stages: Readonly<Record<string, unknown>> },
): (T & { name: string; needs: readonly string[] })[] {
  return orderStages(
    all
      .filter(({ definition }) => definition.name in config.stages)
      .map((stage) => ({
        ...stage,
        name: stage.definition.name,
        needs: stage.definition.needs ?? [],
      })),
  );
}
