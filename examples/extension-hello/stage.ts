// Both come from the builder: nothing need be installed here.
import { defineStage } from 'pi-gateway-image/stage';
import { z } from 'zod';

/** What the owner may set in gateway.yaml, at stages.hello; without options the file can go. */
export const stage = defineStage({
  name: 'hello',
  summary: 'Greets, and counts how often',
  options: z.strictObject({
    greeting: z.string().max(80).default('Hello').describe('How it greets'),
  }),
});
