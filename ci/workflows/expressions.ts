import { data, Evaluator, Lexer, Parser } from '@actions/expressions';

/** Contexts of expressions by name: `github`, `env`, `secrets`, `inputs`, `steps`, `runner`. */
export type Contexts = Record<string, unknown>;

/** How the steps before went, for success(), failure() and always(). */
export type Status = { failed: boolean };

/**
 * Value of an expression (without `${{ }}`), by GitHub's own parser and evaluator.
 * @throws ExpressionError for one that is none.
 */
export function evaluate(
  expression: string,
  contexts: Contexts,
  status: Status,
): data.ExpressionData {
  const names = Object.keys(contexts);
  const functions = [
    ['success', () => !status.failed],
    ['failure', () => status.failed],
    ['always', () => true],
    ['cancelled', () => false],
    // Of files: only the keys of caches have it, whose steps are not run here.
    ['hashFiles', () => 'local'],
  ] as const;
  const infos = functions.map(([name, value]) => ({
    name,
    minArgs: 0,
    maxArgs: name === 'hashFiles' ? 255 : 0,
    call: () => toData(value()),
  }));
  const { tokens } = new Lexer(expression).lex();
  const tree = new Parser(tokens, names, infos).parse();
  const context = toData(contexts);
  if (!(context instanceof data.Dictionary)) throw new Error('contexts are a map');
  return new Evaluator(
    tree,
    context,
    new Map(infos.map((info) => [info.name.toLowerCase(), info])),
  ).evaluate();
}

/** Text with each `${{ … }}` in it replaced by its value. */
export function interpolate(text: string, contexts: Contexts, status: Status): string {
  return text.replace(/\$\{\{(.*?)\}\}/gs, (_, expression: string) =>
    evaluate(expression.trim(), contexts, status).coerceString(),
  );
}

/** Whether a step or job with this `if` runs: without a status function, only after success. */
export function holds(
  condition: string | boolean | undefined,
  contexts: Contexts,
  status: Status,
): boolean {
  if (condition === undefined) return !status.failed;
  const expression = String(condition)
    .trim()
    .replace(/^\$\{\{(.*)\}\}$/s, '$1');
  const asksStatus = /\b(success|failure|always|cancelled)\s*\(/.test(expression);
  if (!asksStatus && status.failed) return false;
  const value = evaluate(expression, contexts, status);
  return !['', 'false', '0'].includes(value.coerceString());
}

function toData(value: unknown): data.ExpressionData {
  if (typeof value === 'string') return new data.StringData(value);
  if (typeof value === 'number') return new data.NumberData(value);
  if (typeof value === 'boolean') return new data.BooleanData(value);
  if (Array.isArray(value)) return new data.Array(...value.map(toData));
  if (value && typeof value === 'object')
    return new data.Dictionary(
      ...Object.entries(value).map(([key, inner]) => ({ key, value: toData(inner) })),
    );
  return new data.Null();
}
