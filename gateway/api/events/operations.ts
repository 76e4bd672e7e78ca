import * as z from 'zod';
import { GatewayError } from '../../errors.ts';
import { defineOperation } from '../operation.ts';
import { type Topic, topics } from './topics.ts';

const isTopic = (text: string): text is Topic => (topics as readonly string[]).includes(text);

export const events = defineOperation({
  id: 'events',
  method: 'get',
  path: '/events',
  area: 'status',
  summary: 'What changes, as it changes: a stream of server-sent events named by topic',
  role: 'viewer',
  query: z.strictObject({
    topics: z
      .string()
      .max(100)
      .regex(new RegExp(`^(${topics.join('|')})(,(${topics.join('|')}))*$`))
      .default('series,check,alert,change')
      .describe(`Some of ${topics.join(', ')}, with commas between`),
  }),
  content: 'text/event-stream',
  run: async ({ exchange }, { query }) => {
    if (!exchange)
      throw new GatewayError('There is no connection to answer on', 'Ask over HTTP', 'refused');
    await exchange.stream(query.topics.split(',').filter(isTopic));
    return undefined;
  },
});
