import * as z from 'zod';

/** `containers:` of /etc/pi-gateway/gateway.yaml. */
export const containersSettings = z.strictObject({
  automatic_updates: z
    .boolean({ error: 'must be true or false' })
    .default(true)
    .describe(
      'Look each night for newer images of the same version; what does not become well is taken back',
    ),
});
