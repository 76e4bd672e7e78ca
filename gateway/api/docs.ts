import { type Operation, scopeOf } from './operation.ts';
import { operations } from './operations.ts';

/** gateway/api/routes.ts as it should be. */
export function routesModule(): string {
  const lines = operations
    .map(({ id, method, path }) => `  ${id}: '${method} ${path}',`)
    .toSorted();
  return `import type { OperationId, OperationOf } from './operations.ts';

/**
 * Method and path of each operation, so that a client need not carry the operations with their schemas.
 * Generated: node ci/docs.ts
 */
export const routes = {
${lines.join('\n')}
} as const satisfies {
  [I in OperationId]: \`\${OperationOf<I>['method']} \${OperationOf<I>['path']}\`;
};
`;
}

const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;

function needs(operation: Operation): string {
  if (operation.role === 'public') return 'nobody';
  return operation.personal ? operation.role : `${operation.role}, \`${scopeOf(operation)}\``;
}

/** All operations, for docs/api.md. */
export function operationTable(): string {
  const all: Operation[] = operations.toSorted(
    (a, b) => a.path.localeCompare(b.path) || a.method.localeCompare(b.method),
  );
  return [
    row(['operation', 'needs', 'does']),
    row(['---', '---', '---']),
    ...all.map((one) =>
      row([`\`${one.method.toUpperCase()} ${one.path}\``, needs(one), one.summary]),
    ),
  ].join('\n');
}
