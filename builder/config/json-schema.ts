import { z } from 'zod';
import type { StageDefinition } from '../../stages/define.ts';
import { fileSchema } from './schema.ts';

/** JSON Schema (2020-12) of gateway.yaml, for completion and checks in editors. */
export function configJsonSchema(stages: readonly StageDefinition[]): Record<string, unknown> {
  const schema = z.toJSONSchema(fileSchema(stages), { io: 'input', unrepresentable: 'any' });
  return { ...schema, title: 'Pi Gateway image configuration (gateway.yaml)' };
}
