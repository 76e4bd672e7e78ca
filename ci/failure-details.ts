import type { Reporter, TestModule, TestSuite } from 'vitest/node';

/** Prints what vitest leaves out of a failed test's error: a BuildError's place and detail, such as a console's end. */
export class FailureDetails implements Reporter {
  onTestRunEnd(modules: readonly TestModule[]): void {
    for (const module of modules)
      for (const { name, error } of failures(module))
        for (const key of ['where', 'detail'])
          if (typeof error[key] === 'string') console.error(`${name}: ${key}:\n${error[key]}\n`);
  }
}

type Failure = { name: string; error: Record<string, unknown> };

function* failures(module: TestModule): Generator<Failure> {
  const of = (from: TestModule | TestSuite, name: string): Failure[] =>
    from.errors().map((error) => ({ name, error }));
  yield* of(module, module.relativeModuleId);
  for (const suite of module.children.allSuites()) yield* of(suite, suite.fullName);
  // Of those that passed when they were tried again, too.
  for (const test of module.children.allTests())
    for (const error of test.result().errors ?? []) yield { name: test.fullName, error };
}
