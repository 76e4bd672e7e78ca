import { accountsOperations } from './accounts/operations.ts';
import { events } from './events/operations.ts';
import { openapi } from './openapi/operations.ts';

/** Everything that the API does. Each area has its own list in `<area>/operations.ts`. */
export const operations = [...accountsOperations, events, openapi] as const;

export type Operations = (typeof operations)[number];
export type OperationId = Operations['id'];
/** The operation of an id, with its schemas. */
export type OperationOf<I extends OperationId> = Extract<Operations, { id: I }>;
