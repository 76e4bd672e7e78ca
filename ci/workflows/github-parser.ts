import { registerHooks } from 'node:module';

/**
 * What GitHub's own parser and schema object to in a workflow or an action.yml.
 *
 * The package imports JSON files without the attribute that Node asks for (it is made for bundlers), so
 * the attribute is put in while it loads.
 */
export async function schemaProblems(
  path: string,
  content: string,
  kind: 'workflow' | 'action',
): Promise<string[]> {
  const hooks = registerHooks({
    load: (url, context, next) =>
      next(
        url,
        url.endsWith('.json')
          ? { ...context, importAttributes: { ...context.importAttributes, type: 'json' } }
          : context,
      ),
  });
  try {
    const { NoOperationTraceWriter, parseWorkflow } = await import('@actions/workflow-parser');
    const { parseAction } = await import('@actions/workflow-parser/actions/index');
    const parseFile = kind === 'action' ? parseAction : parseWorkflow;
    const { context } = parseFile({ name: path, content }, new NoOperationTraceWriter());
    return context.errors.getErrors().map((error) => `${path}: ${error.message}`);
  } finally {
    hooks.deregister();
  }
}
