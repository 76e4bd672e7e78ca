import type { Method, Operation } from './operation.ts';

export type Match = {
  operation: Operation;
  params: Record<string, string>;
};

/** What a path leads to: an operation, methods that it has instead, or nothing. */
export type Found = Match | { allow: readonly Method[] } | undefined;

/** Finds operations by method and path. Words go before parameters: /vpn/import is no client's name. */
export class Router {
  readonly #byPath = new Map<string, { parts: string[]; operations: Map<Method, Operation> }>();

  constructor(operations: readonly Operation[]) {
    for (const operation of operations) {
      const parts = operation.path.slice(1).split('/');
      const shape = parts.map((part) => (isParameter(part) ? '{}' : part)).join('/');
      const entry = this.#byPath.get(shape) ?? { parts, operations: new Map() };
      if (entry.operations.has(operation.method))
        throw new Error(`Two operations are ${operation.method} ${operation.path}`);
      entry.operations.set(operation.method, operation);
      this.#byPath.set(shape, entry);
    }
  }

  /** @param segments decoded, below /api/v1. */
  find(method: string | undefined, segments: readonly string[]): Found {
    const all = [...this.#byPath.values()].filter(({ parts }) => fits(parts, segments));
    const best = all.toSorted((a, b) => parameters(a.parts) - parameters(b.parts))[0];
    if (!best) return undefined;
    // RFC 9110 §9.3.2: HEAD is GET without content.
    const wanted = method === 'HEAD' ? 'get' : method?.toLowerCase();
    const operation = best.operations.get(wanted as Method);
    if (!operation || method !== method?.toUpperCase())
      return { allow: [...best.operations.keys()] };
    // Each operation has its own names for the parameters of one shape.
    const names = operation.path.slice(1).split('/');
    return {
      operation,
      params: Object.fromEntries(
        names.flatMap((name, i) =>
          isParameter(name) ? [[name.slice(1, -1), segments[i] ?? '']] : [],
        ),
      ),
    };
  }
}

function isParameter(part: string): boolean {
  return part.startsWith('{');
}

function parameters(parts: readonly string[]): number {
  return parts.filter(isParameter).length;
}

function fits(parts: readonly string[], segments: readonly string[]): boolean {
  return (
    parts.length === segments.length &&
    parts.every((part, i) => (isParameter(part) ? segments[i] !== '' : part === segments[i]))
  );
}
