import * as z from 'zod';
import { GatewayError } from '../../errors.ts';
import { defineOperation } from '../operation.ts';

export const openapi = defineOperation({
  id: 'openapi',
  method: 'get',
  path: '/openapi.json',
  area: 'status',
  summary: 'This document',
  role: 'public',
  response: z.record(z.string(), z.unknown()),
  run: async ({ exchange }) => {
    if (!exchange)
      throw new GatewayError('There is no server to describe', 'Ask over HTTP', 'refused');
    return exchange.document();
  },
});
