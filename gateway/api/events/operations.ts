import * as z from 'zod';
import { GatewayError } from '../../errors.ts';
import { defineOperation, type Scope } from '../operation.ts';
import { ProblemError } from '../problem.ts';
import { type Topic, topics } from './topics.ts';

const isTopic = (text: string): text is Topic => (topics as readonly string[]).includes(text);

/** Unless said: all but what is asked of the kernel each second. */
const usual: readonly Topic[] = ['series', 'check', 'alert', 'change'];

/** What a token needs besides: a topic tells no less than the operation that has the same. */
const scopes: Partial<Record<Topic, Scope>> = {
  series: 'metrics:read',
  alert: 'alerts:read',
  vpn: 'vpn:read',
};

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
      .optional()
      .describe(
        `Some of ${topics.join(', ')}, with commas between; unless said ${usual.join(', ')}, as far as a token may. It needs metrics:read for series, alerts:read for alert, vpn:read for vpn`,
      ),
  }),
  content: 'text/event-stream',
  run: async ({ exchange, principal }, { query }) => {
    if (!exchange)
      throw new GatewayError('There is no connection to answer on', 'Ask over HTTP', 'refused');
    const lacking = (topic: Topic) => {
      const scope = scopes[topic];
      return scope !== undefined && principal?.scopes?.includes(scope) === false;
    };
    const asked = query.topics?.split(',').filter(isTopic);
    const refused = asked?.find(lacking);
    if (refused)
      throw new ProblemError(
        403,
        `The token ${principal?.name} has no scope ${scopes[refused]}`,
        'Make one that has, or leave that topic out',
        // RFC 6750 §3.1
        {
          headers: {
            'www-authenticate': `Bearer error="insufficient_scope", scope="${scopes[refused]}"`,
          },
        },
      );
    await exchange.stream(asked ?? usual.filter((topic) => !lacking(topic)));
    return undefined;
  },
});
